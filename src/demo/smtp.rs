//! A mail server that keeps what it is given: enough of RFC 5321 for one sender at a time, and no more.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// Longest line and largest mail that are read.
const LINE_BYTES_MAX: u64 = 4096;
const MAIL_BYTES_MAX: usize = 1 << 20;
/// Mails that are kept.
const MAILS_MAX: usize = 1000;

/// A mail and when its last line arrived.
#[derive(Debug, Clone)]
pub(super) struct Mail {
    pub(super) received_at: DateTime<Utc>,
    pub(super) to: Vec<String>,
    pub(super) data: String,
}

impl Mail {
    /// Its subject, folded lines joined (RFC 5322 §2.2.3).
    pub(super) fn subject(&self) -> String {
        let unfolded = self.data.replace("\n ", " ");
        let subject = unfolded.lines().find_map(|l| l.strip_prefix("Subject: "));
        subject.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// What has arrived so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Mails(Arc<Mutex<Vec<Mail>>>);

impl Mails {
    /// The first mail for `to`.
    pub(super) fn first_to(&self, to: &str) -> Option<Mail> {
        let mails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        mails.iter().find(|m| m.to.iter().any(|t| t == to)).cloned()
    }

    fn keep(&self, mail: Mail) -> bool {
        let mut mails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = mails.len() < MAILS_MAX;
        if room {
            mails.push(mail);
        }
        room
    }
}

/// Serves for ever.
pub(super) async fn serve(listener: TcpListener, mails: Mails) {
    while let Ok((stream, _)) = listener.accept().await {
        let mails = mails.clone();
        // A sender that goes away mid-sentence has sent nothing.
        tokio::spawn(async move { drop(converse(stream, &mails).await) });
    }
}

async fn converse(stream: TcpStream, mails: &Mails) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut to = Vec::new();
    stream.write_all(b"220 watchkeep demo\r\n").await?;
    while let Some(line) = line(&mut stream).await? {
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let reply: &[u8] = match verb.as_str() {
            "EHLO" | "HELO" | "NOOP" => b"250 watchkeep demo\r\n",
            "MAIL" | "RSET" => {
                to.clear();
                b"250 ok\r\n"
            }
            "RCPT" => {
                to.extend(address(&line));
                b"250 ok\r\n"
            }
            "DATA" if to.is_empty() => b"503 no recipient\r\n",
            "DATA" => {
                stream.write_all(b"354 end with .\r\n").await?;
                let Some(data) = data(&mut stream).await? else { return Ok(()) };
                let mail = Mail { received_at: Utc::now(), to: std::mem::take(&mut to), data };
                if mails.keep(mail) { b"250 kept\r\n" } else { b"452 full\r\n" }
            }
            "QUIT" => return stream.write_all(b"221 bye\r\n").await,
            _ => b"502 not known here\r\n",
        };
        stream.write_all(reply).await?;
    }
    Ok(())
}

/// A line without its end; none at the end of the stream.
async fn line(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    stream.take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes).await?;
    if !bytes.ends_with(b"\n") {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned()))
}

/// Everything up to the line with only a dot; none when there is none.
async fn data(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    let mut data = String::new();
    while let Some(line) = line(stream).await? {
        if line == "." {
            return Ok(Some(data));
        }
        if data.len() + line.len() > MAIL_BYTES_MAX {
            break;
        }
        data.push_str(line.strip_prefix('.').unwrap_or(&line));
        data.push('\n');
    }
    Ok(None)
}

/// The address in `RCPT TO:<alice@example.org>`.
fn address(line: &str) -> Option<String> {
    let (_, rest) = line.split_once('<')?;
    Some(rest.split_once('>')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_a_mail() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mails = Mails::default();
        tokio::spawn(serve(listener, mails.clone()));
        let mut sender = TcpStream::connect(address).await.expect("connects");
        let talk = b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: one\r\n two\r\n\r\n..dot\r\n.\r\nQUIT\r\n";
        sender.write_all(talk).await.expect("sends");
        let mut answers = String::new();
        sender.read_to_string(&mut answers).await.expect("answers");
        assert!(answers.ends_with("250 kept\r\n221 bye\r\n"), "{answers}");
        let mail = mails.first_to("c@d").expect("a mail");
        assert_eq!(mail.data, "Subject: one\n two\n\n.dot\n");
        assert_eq!(mail.subject(), "one two");
    }
}
