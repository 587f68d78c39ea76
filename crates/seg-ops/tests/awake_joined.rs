//! As `awake.rs`, with the calling thread in the pool: nothing has used it before.

use candle_core::{Device, Result, Tensor};

#[test]
fn operations_go_on_with_the_caller_in_the_pool() -> Result<()> {
    seg_ops::keep_threads_awake(2);
    assert_eq!(rayon::current_num_threads(), 2);
    let x = Tensor::arange(0f32, 1e6, &Device::Cpu)?.sin()?.reshape((1000, 1000))?;
    let expected = seg_ops::softmax(&x)?.to_vec2::<f32>()?;
    let again = || seg_ops::softmax(&x).unwrap().to_vec2::<f32>().unwrap();
    (0..100).for_each(|_| assert_eq!(again(), expected));
    // from another thread, while this one waits for it outside the pool
    std::thread::scope(|scope| {
        scope.spawn(|| (0..100).for_each(|_| assert_eq!(again(), expected)));
    });
    Ok(())
}
