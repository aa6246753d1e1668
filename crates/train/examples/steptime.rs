//! scratch
use burn::tensor::*;
use burn::train::Learner;
use sail_core::*;
use sail_layers::*;
use sail_losses::*;
use sail_train::*;
use std::sync::Arc;
use std::time::Instant;
fn main() {
    let a: Vec<usize> = std::env::args()
        .skip(1)
        .map(|x| x.parse().unwrap())
        .collect();
    let (b, di, dt, d, w, n) = (a[0], a[1], a[2], a[3], a[4], a[5]);
    let dev = Device::flex().autodiff();
    let head = Head::new(
        &HeadConfig::new(di, dt, d, ProjectorConfig::Glu { width: w }),
        0,
        &dev,
    )
    .unwrap();
    let x = Tensor::<2>::random([b, di], Distribution::Normal(0., 1.), &dev);
    let y = Tensor::<2>::random([b, dt], Distribution::Normal(0., 1.), &dev);
    let c = TrainConfig {
        learning_rate: 1e-5,
        ..Default::default()
    };
    let task = AlignmentTask::new(head.clone(), Arc::new(SigmoidLoss::new()));
    let opt = optimizer(&c, &task);
    let mut l = Learner::new(task, opt, WarmupCosine::new(1e-5, 1000, 0.1, 0));
    let (mut ts, mut to) = (vec![], vec![]);
    for _ in 0..n {
        let t = Instant::now();
        let o = l.train_step(AlignmentBatch {
            images: x.clone(),
            texts: vec![y.clone()],
        });
        let _ = o.item.read();
        let a1 = t.elapsed().as_secs_f64();
        l.lr_step();
        l.optimizer_step(o.grads);
        let a2 = t.elapsed().as_secs_f64();
        ts.push(a1);
        to.push(a2 - a1);
    }
    ts.sort_by(f64::total_cmp);
    to.sort_by(f64::total_cmp);
    println!(
        "fwd+bwd {:.4} optim {:.4} total {:.4}",
        ts[n / 2],
        to[n / 2],
        ts[n / 2] + to[n / 2]
    );
    // matmul ceiling for the same products
    let xi = x.clone().inner();
    let w1 = Tensor::<2>::random([di, w * di], Distribution::Default, &dev.clone().inner());
    let mut tm = vec![];
    for _ in 0..n {
        let t = Instant::now();
        let h = xi.clone().matmul(w1.clone());
        let _ = h.clone().matmul(w1.clone().transpose());
        let _ = xi.clone().transpose().matmul(h);
        tm.push(t.elapsed().as_secs_f64());
    }
    tm.sort_by(f64::total_cmp);
    println!(
        "ceiling {:.1} GFLOP/s",
        6.0 * (b * di * w * di) as f64 / tm[n / 2] / 1e9
    );
    let fl = 6.0
        * b as f64
        * ((di * w * di * 2 + w * di * d) as f64 + (dt * w * dt * 2 + w * dt * d) as f64)
        + 6.0 * (b * b * d) as f64;
    println!(
        "ideal {:.4}",
        fl / (6.0 * (b * di * w * di) as f64 / tm[n / 2])
    );
    let t = Instant::now();
    for _ in 0..n {
        let _ = head.project_images(x.clone());
    }
    println!("fwd img {:.4}", t.elapsed().as_secs_f64() / n as f64);
}
