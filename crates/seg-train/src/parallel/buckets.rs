//! The gradients of all processes added up, a bucket at a time.

use crate::Result;
use crate::optim::Gradients;
use candle_core::{DType, Tensor, Var};
use seg_ops::{AllReduce, Pending};
use std::collections::VecDeque;

/// Bytes of a bucket: large enough that its way is not made of latency.
const BUCKET: usize = 24 << 20;
/// Buckets that are on their way while the next one is packed.
const AHEAD: usize = 2;

/// Adds up the gradients of `vars` over all processes: one that has none counts as zeros, unless no process has one.
///
/// While a bucket is on its way the next one is packed.
///
/// # Errors
/// Candle's; a group that has broken.
pub fn sum_gradients(gradients: &mut Gradients, vars: &[(String, Var)], group: &dyn AllReduce) -> Result<()> {
    if group.ranks() == 1 {
        return Ok(());
    }
    let present: Vec<f64> = vars.iter().map(|(_, var)| f64::from(u8::from(gradients.get(var).is_some()))).collect();
    let present = group.sum_numbers(&present)?;
    let reached = vars.iter().zip(present).filter(|(_, processes)| *processes > 0.).map(|((_, var), _)| var);
    let parts = reached.map(|var| {
        let gradient = gradients.get(var).map_or_else(|| var.zeros_like(), |gradient| Ok(gradient.clone()))?;
        Ok((var.clone(), gradient))
    });
    let sums = sum_all(parts.collect::<Result<Vec<_>>>()?, group)?;
    sums.into_iter().for_each(|(var, sum)| gradients.set(&var, sum));
    Ok(())
}

/// Moves each variable by the mean of what it has moved in all processes since it was what stands beside it: one that has moved in none stays as it is.
///
/// # Errors
/// As [`sum_gradients`].
pub fn average_moves(vars: &[(Var, Tensor)], group: &dyn AllReduce) -> Result<()> {
    if group.ranks() == 1 {
        return Ok(());
    }
    let moves = vars.iter().map(|(var, before)| Ok((var.clone(), (var.as_detached_tensor() - before)?)));
    let sums = sum_all(moves.collect::<Result<Vec<_>>>()?, group)?;
    for ((var, before), (_, sum)) in vars.iter().zip(sums) {
        var.set(&(before + (sum / group.ranks() as f64)?)?)?;
    }
    Ok(())
}

/// A number made of all bits of `vars`: where it differs, they do.
///
/// # Errors
/// Candle's.
pub fn fingerprint(vars: &[(String, Var)]) -> Result<u64> {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for (_, var) in vars {
        // f64 holds every f32 exactly
        for value in var.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()? {
            hash = (hash ^ value.to_bits()).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
        }
    }
    Ok(hash)
}

/// A bucket on its way, and what it is made of.
type Sent = (Pending, Vec<Var>);

fn sum_all(parts: Vec<(Var, Tensor)>, group: &dyn AllReduce) -> Result<Vec<(Var, Tensor)>> {
    let (mut sent, mut done): (VecDeque<Sent>, _) = (VecDeque::new(), Vec::with_capacity(parts.len()));
    let mut parts = parts.into_iter().peekable();
    while let Some((var, values)) = parts.next() {
        let bytes = |t: &Tensor| t.elem_count() * t.dtype().size_in_bytes();
        let (dtype, mut size): (DType, usize) = (values.dtype(), bytes(&values));
        let (mut vars, mut flat) = (vec![var], vec![values.flatten_all()?]);
        while let Some((var, values)) = parts.next_if(|(_, next)| next.dtype() == dtype && size + bytes(next) <= BUCKET)
        {
            size += bytes(&values);
            vars.push(var);
            flat.push(values.flatten_all()?);
        }
        sent.push_back((group.begin(&Tensor::cat(&flat, 0)?)?, vars));
        if sent.len() > AHEAD {
            unpack(&mut sent, &mut done)?;
        }
    }
    while !sent.is_empty() {
        unpack(&mut sent, &mut done)?;
    }
    Ok(done)
}

/// Waits for the first bucket and takes it apart.
fn unpack(sent: &mut VecDeque<Sent>, done: &mut Vec<(Var, Tensor)>) -> Result<()> {
    let Some((pending, vars)) = sent.pop_front() else { return Ok(()) };
    let (sum, mut from) = (pending.wait()?, 0);
    for var in vars {
        let count = var.elem_count();
        done.push((var.clone(), sum.narrow(0, from, count)?.reshape(var.shape())?));
        from += count;
    }
    Ok(())
}
