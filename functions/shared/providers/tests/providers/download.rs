//! Downloads: lengths, bounds, statuses, and addresses that must not be dialled.

use fresco_pipeline::catalogue::MediaKind;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_providers::media::{Downloader, HostList};

use super::script::{Script, Step, answer};

const MAX: u64 = MediaKind::Image.max_bytes();

async fn read(downloader: &Downloader, url: &str) -> Result<Vec<u8>, Failure> {
    let mut download = downloader.fetch(url, MediaKind::Image, MAX).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = download.chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    assert!(download.length().is_none_or(|length| length == bytes.len() as u64));
    Ok(bytes)
}

fn downloader(hosts: &str) -> Downloader {
    Downloader::new(HostList::parse(hosts).unwrap()).unwrap()
}

#[tokio::test]
async fn a_whole_object_arrives_with_and_without_a_length() {
    let chunked =
        "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    for step in [answer(200, &[], "abcde"), Step::Bytes(chunked.as_bytes().to_vec())] {
        let script = Script::start(vec![step]).await;
        let bytes = read(&downloader(&script.base), &format!("{}/a.png?sig=x", script.base)).await;
        assert_eq!(bytes, Ok(b"abcde".to_vec()));
        let asked = script.asked()[0].to_ascii_lowercase();
        assert!(asked.contains("accept-encoding: identity") && !asked.contains("authorization"));
    }
}

#[tokio::test]
async fn failed_downloads_are_retryable_or_final() {
    use ErrorName::{OutputInvalid, OutputRefused, OutputUnavailable};
    let raw = |text: &str| Step::Bytes(text.as_bytes().to_vec());
    let too_long = MAX + 1;
    for (step, name) in [
        (answer(403, &[], "expired"), OutputUnavailable),
        (answer(404, &[], ""), OutputUnavailable),
        (answer(410, &[], ""), OutputUnavailable),
        (answer(429, &[], ""), OutputUnavailable),
        (answer(500, &[], ""), OutputUnavailable),
        (answer(503, &[], ""), OutputUnavailable),
        (Step::HangUp, OutputUnavailable),
        (raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"), OutputUnavailable),
        (raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab"), OutputUnavailable),
        (answer(302, &[("location", "http://169.254.169.254/latest/")], ""), OutputRefused),
        (answer(302, &[("location", "https://example.com/secret.png")], ""), OutputRefused),
        (answer(302, &[], ""), OutputUnavailable),
        // It is paid, and may be whole the next time.
        (answer(200, &[], ""), OutputUnavailable),
        (raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"), OutputUnavailable),
        (raw("HTTP/1.1 206 X\r\ncontent-length: 1\r\n\r\na"), OutputUnavailable),
        (raw(&format!("HTTP/1.1 200 OK\r\ncontent-length: {too_long}\r\n\r\n")), OutputInvalid),
    ] {
        let script = Script::start(vec![step]).await;
        let failure = read(&downloader(&script.base), &format!("{}/a.png?sig=secret", script.base)).await.unwrap_err();
        assert_eq!(failure.name, name, "{failure}");
        assert!(!failure.message.contains("secret"), "{failure}");
        assert_eq!(script.asked().len(), 1);
    }
}

#[tokio::test]
async fn an_object_of_unknown_length_is_given_up_when_it_is_too_long() {
    let most = usize::try_from(MAX).unwrap();
    let mut bytes = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
    bytes.resize(bytes.len() + most + 1, 0x55);
    let script = Script::start(vec![Step::Bytes(bytes)]).await;
    let failure = read(&downloader(&script.base), &format!("{}/a", script.base)).await.unwrap_err();
    assert_eq!(failure.name, ErrorName::OutputInvalid);
    assert!(failure.message.contains("longer"));
}

#[tokio::test]
async fn nothing_is_dialled_that_is_not_listed() {
    let script = Script::start(Vec::new()).await;
    let port = script.base.rsplit(':').next().unwrap().to_owned();
    // `localhost` is on the list as a name, so it is resolved, and what it resolves to is refused.
    let downloader = downloader("*.fal.media, localhost, 127.0.0.1");
    for url in [
        "https://localhost/a.png".to_owned(),
        "https://127.0.0.1/a.png".to_owned(),
        "https://0x7f000001/a.png".to_owned(),
        format!("http://127.0.0.1:{port}/a.png"),
        format!("https://127.0.0.1:{port}/a.png"),
        format!("http://localhost:{port}/a.png"),
        "https://[::1]/a.png".to_owned(),
        "https://example.com/a.png".to_owned(),
        "data:image/png;base64,AAAA".to_owned(),
        "file:///etc/passwd".to_owned(),
        "not a url".to_owned(),
        String::new(),
    ] {
        let failure = downloader.fetch(&url, MediaKind::Image, MAX).await.unwrap_err();
        assert_eq!(failure.name, ErrorName::OutputRefused, "{url}: {failure}");
    }
    assert!(script.asked().is_empty());
}

#[tokio::test]
async fn redirects_are_followed_within_the_list() {
    let there = || answer(302, &[("location", "/b.png?sig=secret")], "");
    let script = Script::start(vec![there(), answer(200, &[], "abc")]).await;
    let bytes = read(&downloader(&script.base), &format!("{}/a.png", script.base)).await;
    assert_eq!(bytes, Ok(b"abc".to_vec()));
    assert!(script.asked()[1].starts_with("GET /b.png?sig=secret "), "{:?}", script.asked());

    // To another host of the list, and to one that is not on it.
    let target = Script::start(vec![answer(200, &[], "de")]).await;
    let elsewhere = format!("{}/c.png", target.base);
    let moved = || answer(307, &[("location", elsewhere.as_str())], "");
    let script = Script::start(vec![moved(), moved()]).await;
    let both = format!("{}, {}", script.base, target.base);
    assert_eq!(read(&downloader(&both), &script.base).await, Ok(b"de".to_vec()));
    let failure = read(&downloader(&script.base), &script.base).await.unwrap_err();
    assert_eq!((failure.name, target.asked().len()), (ErrorName::OutputRefused, 1));

    // A circle ends.
    let script = Script::start((0..9).map(|_| there()).collect()).await;
    let failure = read(&downloader(&script.base), &script.base).await.unwrap_err();
    assert_eq!((failure.name, script.asked().len()), (ErrorName::OutputUnavailable, 6), "{failure}");
    assert!(!failure.message.contains("secret"));
}

#[tokio::test]
async fn the_bound_is_the_callers_and_an_input_is_called_one() {
    let chunked = "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n6\r\nabcdef\r\n0\r\n\r\n";
    let expected = "the input is longer than the 5 bytes that a video may have here";
    for (step, max, message) in [
        (answer(200, &[], "abcdef"), 6, None),
        (answer(200, &[], "abcdef"), 5, Some(expected)),
        (Step::Bytes(chunked.as_bytes().to_vec()), 6, None),
        (Step::Bytes(chunked.as_bytes().to_vec()), 5, Some(expected)),
        (answer(200, &[], ""), 5, Some("the input is empty")),
        (answer(404, &[], ""), 5, Some("127.0.0.1 answered 404 instead of the input")),
        (answer(302, &[("location", "/")], ""), 5, Some("127.0.0.1 redirects the input elsewhere")),
    ] {
        let script = Script::start(vec![step]).await;
        let downloader = Downloader::for_inputs(HostList::parse(&script.base).unwrap()).unwrap();
        let reading = async {
            let mut download = downloader.fetch(&format!("{}/a.mp4", script.base), MediaKind::Video, max).await?;
            while download.chunk().await?.is_some() {}
            Ok(())
        };
        let outcome: Result<(), Failure> = reading.await;
        assert_eq!(outcome.err().map(|failure| failure.message).as_deref(), message);
    }
}

#[tokio::test]
async fn a_users_url_leads_to_no_machine_of_ours() {
    let script = Script::start(Vec::new()).await;
    let downloader = Downloader::for_inputs(HostList::anywhere()).unwrap();
    for (url, why) in [
        (script.base.clone(), "its URL is not https"),
        (script.base.replace("http:", "https:"), "its URL names a port"),
        ("https://127.0.0.1/a.png".to_owned(), "its address is not a public one"),
        ("https://localhost/a.png?sig=secret".to_owned(), "its address is not a public one"),
        ("https://u:secret@example.com/a.png".to_owned(), "its URL carries credentials"),
        ("secret".to_owned(), "it is not a URL"),
    ] {
        let failure = downloader.fetch(&url, MediaKind::Image, MAX).await.unwrap_err();
        assert_eq!(failure.name, ErrorName::OutputInvalid, "{url}: {failure}");
        assert!(failure.message.starts_with("the input ") && failure.message.ends_with(why), "{failure}");
        assert!(!failure.message.contains("secret"), "{failure}");
    }
    assert!(script.asked().is_empty());
}
