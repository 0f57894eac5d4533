//! The targets: answers every request on every port with 200 and closes, as cheaply as can be.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
/// Longest request.
const REQUEST_BYTES_MAX: usize = 4096;

/// Serves until the process is killed.
pub(crate) async fn serve(ports: &[u16]) {
    let mut doors = JoinSet::new();
    for port in ports {
        let listener = TcpListener::bind(("127.0.0.1", *port)).await.expect("bind");
        doors.spawn(async move {
            // An accept fails when there are too many files: the next may succeed.
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(answer(stream));
                }
            }
        });
    }
    while doors.join_next().await.is_some() {}
}

async fn answer(mut stream: TcpStream) {
    let mut request = [0; REQUEST_BYTES_MAX];
    let mut read = 0;
    while let Ok(more @ 1..) = stream.read(&mut request[read..]).await {
        read += more;
        if request[..read].ends_with(b"\r\n\r\n") {
            // A prober that went away is none of its business.
            let _ = stream.write_all(ANSWER).await;
            return;
        }
    }
}
