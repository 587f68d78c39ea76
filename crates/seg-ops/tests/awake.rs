//! Threads that stay awake: work goes on whoever asks for it, and gives the same. A process of its own, as it changes rayon's pool.

use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

fn norm(x: &Tensor) -> Result<Vec<f32>> {
    let weight = Tensor::ones(64, x.dtype(), x.device())?;
    seg_ops::layer_norm(x, &weight, None, 1e-6)?.flatten_all()?.to_vec1()
}

#[test]
fn operations_go_on_from_all_threads() -> Result<()> {
    let x = Tensor::arange(0f32, 64. * 500., &Device::Cpu)?.sin()?.reshape((500, 64))?;
    let expected = norm(&x)?; // the pool exists before anything is asked for
    let told = seg_ops::keep_threads_awake(0);
    assert!(!told || std::env::var("CANDLE_BARRIER_POOL_SPIN_LIMIT").is_ok());
    // from the pool itself, from two other threads at once, and from pools of other sizes
    (0..64).into_par_iter().for_each(|_| assert_eq!(norm(&x).unwrap(), expected));
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..100).for_each(|_| assert_eq!(pool.install(|| norm(&x)).unwrap(), expected)));
            }
        });
    }
    Ok(())
}
