//! Golden cases: regenerate weights and inputs from names, compare outputs with the official ones
