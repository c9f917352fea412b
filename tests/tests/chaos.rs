//! A short chaos: what `cargo fresco chaos` does, on every change. It has a stack of its own.

use fresco_cli::chaos::{Options, chaos};
use fresco_cli::stack::{Layout, Progress};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_chaos_ends_well() {
    let layout = Layout::find().unwrap();
    let instance = layout.root().join(format!("target/tmp/stack-{}", std::process::id()));
    let options = Options { instance: instance.clone(), layout, runs: 24, seed: 5, progress: Progress::silent() };
    let outcome = chaos(&options).await.unwrap();
    println!("{}", outcome.text(options.runs, &instance));
    assert!(outcome.violations.is_empty(), "{}", outcome.text(options.runs, &instance));
    assert!(outcome.billed > 0 && outcome.runs.values().sum::<u32>() == options.runs);
}
