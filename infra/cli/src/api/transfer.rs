//! Transfers of media, rows and results by the signed links of the API. They may take any time as long as they move.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use fresco_api_types::UploadView;
use futures::{Stream, StreamExt};
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Body, Response, StatusCode};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{Api, ApiError};

/// A transfer that does not move for this time is given up.
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// The length of the pieces that are sent, in bytes.
const PIECE: usize = 256 * 1024;
const STORAGE: &str = "the storage";

impl Api {
    /// Opens the object behind a link.
    pub(super) async fn fetch(&self, url: &str) -> Result<Response, ApiError> {
        let answer = self.http.get(url).send().await.map_err(|error| ApiError::unreachable(STORAGE, &error))?;
        match answer.status() {
            StatusCode::OK => Ok(answer),
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => Err(ApiError::Gone),
            status => Err(ApiError::unexpected(format!("the storage answered {status}"))),
        }
    }

    /// Sends this number of bytes to an upload.
    pub(super) async fn put(
        &self,
        upload: &UploadView,
        bytes: u64,
        from: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<(), ApiError> {
        let moved = Arc::new(Notify::new());
        let sender = Arc::clone(&moved);
        // A file that grows meanwhile is cut at its declared length.
        let body = pieces(from.take(bytes)).inspect(move |_| sender.notify_one());
        // Set here: a streamed body has no length of its own.
        let put = self.uploads.put(&upload.url).header(CONTENT_LENGTH, bytes).body(Body::wrap_stream(body));
        let headers = upload.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"));
        let put = headers.fold(put, |put, (name, value)| put.header(name, value));
        let answer = tokio::select! {
            answer = put.send() => answer.map_err(|error| ApiError::unreachable(STORAGE, &error))?,
            () = stalls(&moved, self.idle) => {
                let why = format!("it took nothing for {} s", self.idle.as_secs());
                return Err(ApiError::Unreachable { place: STORAGE.to_owned(), why });
            }
        };
        match answer.status().is_success() {
            true => Ok(()),
            false => Err(ApiError::unexpected(format!("the upload was answered with {}", answer.status()))),
        }
    }
}

/// Waits until nothing has moved for this time.
async fn stalls(moved: &Notify, idle: Duration) {
    while timeout(idle, moved.notified()).await.is_ok() {}
}

/// Streams a source in pieces, one in memory at a time.
fn pieces(
    from: impl AsyncRead + Send + Unpin + 'static,
) -> impl Stream<Item = io::Result<bytes::Bytes>> + Send + 'static {
    futures::stream::try_unfold(from, async |mut from| {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = from.read_buf(&mut piece).await?;
        Ok::<_, io::Error>((read > 0).then(|| (piece.freeze(), from)))
    })
}

/// Returns the present length of a file, and its SHA-256 in lower-case hex.
pub(super) async fn hashed(file: &mut File) -> io::Result<(u64, String)> {
    // A file that grows meanwhile would have no end.
    let length = file.metadata().await?.len();
    let mut from = file.take(length);
    let (mut hash, mut bytes, mut piece) = (Sha256::new(), 0, BytesMut::with_capacity(PIECE));
    while from.read_buf(&mut piece).await? > 0 {
        hash.update(&piece);
        bytes += piece.len() as u64;
        piece.clear();
    }
    Ok((bytes, hex::encode(hash.finalize())))
}

#[cfg(test)]
mod tests {
    use aws_config::SdkConfig;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Starts a storage that handles one connection like this, and returns its address.
    async fn storage<F: Future<Output = ()> + Send>(with: impl FnOnce(TcpStream) -> F + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/object", listener.local_addr().unwrap());
        tokio::spawn(async move { with(listener.accept().await.unwrap().0).await });
        url
    }

    async fn read_until(peer: &mut TcpStream, is_all: impl Fn(&[u8]) -> bool) {
        let mut got = Vec::new();
        while !is_all(&got) {
            assert_ne!(peer.read_buf(&mut got).await.unwrap(), 0);
        }
    }

    fn api(idle: Duration) -> Api {
        Api::with_idle(&SdkConfig::builder().build(), "http://127.0.0.1:1", idle).unwrap()
    }

    fn upload(url: String) -> UploadView {
        let (id, method) = ("rows-1-0".to_owned(), "PUT".to_owned());
        UploadView { id, method, url, headers: Default::default(), url_expires_at: 0 }
    }

    #[tokio::test]
    async fn a_file_is_hashed_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.txt");
        for length in [0, 5, PIECE, 2 * PIECE + 1] {
            let content: Vec<u8> = (0u8..=250).cycle().take(length).collect();
            std::fs::write(&path, &content).unwrap();
            let mut file = File::open(&path).await.unwrap();
            let hash = hex::encode(Sha256::digest(&content));
            assert_eq!(hashed(&mut file).await.unwrap(), (length as u64, hash), "{length}");
        }
    }

    #[tokio::test]
    async fn a_stalled_download_is_given_up() {
        let url = storage(async |mut peer: TcpStream| {
            read_until(&mut peer, |got| got.ends_with(b"\r\n\r\n")).await;
            peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc").await.unwrap();
            std::future::pending().await
        });
        let mut answer = api(Duration::from_millis(200)).fetch(&url.await).await.unwrap();
        assert_eq!(answer.chunk().await.unwrap().unwrap(), "abc");
        let error = ApiError::unreachable(STORAGE, &answer.chunk().await.unwrap_err());
        assert_eq!(error.to_string(), "the storage cannot be reached: it did not answer in time");
    }

    #[tokio::test]
    async fn a_stalled_upload_is_given_up() {
        // More than the socket buffers hold.
        const MUCH: u64 = 256 << 20;
        let url = storage(async |_peer: TcpStream| std::future::pending().await).await;
        let api = api(Duration::from_millis(200));
        let error = api.put(&upload(url), MUCH, tokio::io::repeat(0)).await.unwrap_err();
        assert!(matches!(&error, ApiError::Unreachable { why, .. } if why.starts_with("it took nothing")), "{error}");
    }

    /// The read timeout of a client runs while it sends, so uploads must not have it.
    #[tokio::test]
    async fn a_slow_upload_is_sent_to_its_end() {
        const PIECES: usize = 6;
        let (idle, pause) = (Duration::from_secs(1), Duration::from_millis(250));
        let url = storage(async |mut peer: TcpStream| {
            read_until(&mut peer, |got| got.ends_with(&[b'#'; PIECES])).await;
            peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        });
        let (mut source, from) = tokio::io::duplex(16);
        tokio::spawn(async move {
            for _ in 0..PIECES {
                tokio::time::sleep(pause).await;
                source.write_all(b"#").await.unwrap();
            }
        });
        api(idle).put(&upload(url.await), PIECES as u64, from).await.unwrap();
    }
}
