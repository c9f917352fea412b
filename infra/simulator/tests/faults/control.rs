//! The control routes of the rules, and the repetition of draws by a seed.

use fresco_simulator::Config;
use serde_json::json;

use crate::FLUX;
use crate::common::{Fal, read};

#[tokio::test]
async fn rules_are_set_read_and_deleted() {
    let fal = Fal::instant().await;
    let url = format!("{}/_control/faults", fal.running.url());
    let rules = json!([
        { "fault": "throttled", "retry_after": 7, "endpoint": "fal-ai/flux/*", "prompt": "fox", "skip": 1, "times": 1 },
        { "fault": "media_empty" },
    ]);
    let (status, set) = fal.control("faults", rules).await;
    let first = json!({ "fault": "throttled", "retry_after": 7, "endpoint": "fal-ai/flux/*", "prompt": "fox",
        "skip": 1, "times": 1, "probability": null, "seen": 0, "hits": 0 });
    assert_eq!((status, &set[0], set.as_array().unwrap().len()), (200, &first, 2));

    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(fal.ask(FLUX).await.unwrap().status);
    }
    assert_eq!(statuses, [200, 429, 200]);
    let (_, got) = fal.get(&url).await;
    assert_eq!((&got[0]["seen"], &got[0]["hits"], &got[1]["seen"]), (&json!(2), &json!(1), &json!(0)));
    let (_, counters) = fal.get(&format!("{}/_control/counters", fal.running.url())).await;
    assert_eq!(counters["by_fault"], json!({ "throttled": 1 }));

    // A wrong rule changes nothing.
    for (wrong, word) in [
        (json!([{ "fault": "forbidden" }, { "fault": "sorcery" }]), "sorcery"),
        (json!([{ "fault": "slow_reply", "seconds": 1, "secodns": 1 }]), "secodns"),
        (json!([{ "fault": "slow_reply", "seconds": -1 }]), "seconds"),
    ] {
        let (status, error) = fal.control("faults", wrong).await;
        assert_eq!(status, 422);
        assert!(error["error"].as_str().unwrap().contains(word), "{error}");
    }
    assert_eq!(fal.get(&url).await.1, got);

    let forgotten = read(fal.http.delete(&url).send().await.unwrap()).await;
    assert_eq!(forgotten, (200, json!([])));
    assert_eq!(fal.get(&url).await.1, json!([]));
}

#[tokio::test]
async fn the_seed_repeats_the_draws_of_a_probability() {
    let session = async |seed| -> Vec<u16> {
        let fal = Fal::start(Config { scale: 0.0, seed: Some(seed), ..Config::default() }).await;
        fal.fault(json!({ "fault": "throttled", "probability": 0.5 }));
        let mut statuses = Vec::new();
        for _ in 0..24 {
            statuses.push(fal.ask(FLUX).await.unwrap().status);
        }
        statuses
    };
    let first = session(1).await;
    assert!(first.contains(&200) && first.contains(&429), "{first:?}");
    assert_eq!(first, session(1).await);
    assert_ne!(first, session(2).await);
}

#[tokio::test]
async fn faults_apply_at_several_stages_of_one_request() {
    let fal = Fal::instant().await;
    let rules = json!([
        { "fault": "slow_reply", "seconds": 0 }, { "fault": "nsfw" }, { "fault": "status_error", "times": 1 },
        { "fault": "media_empty" },
    ]);
    assert_eq!(fal.control("faults", rules).await.0, 200);
    let reply = fal.submit(FLUX, json!({ "prompt": "x" })).await;
    assert_eq!(fal.get(reply["status_url"].as_str().unwrap()).await.0, 500);
    let (_, output) = read(fal.result(&reply).await).await;
    assert_eq!(fal.download(&output["images"][0]).await.1.len(), 0);
    let (_, records) = fal.get(&format!("{}/_control/requests", fal.running.url())).await;
    assert_eq!(records[0]["faults"], json!(["nsfw", "slow_reply", "status_error", "media_empty"]));
}
