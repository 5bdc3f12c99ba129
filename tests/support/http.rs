//! Just enough HTTP for a test: a request, and a server that hands out one body.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// The status and the body of `GET path`.
pub fn get(server: SocketAddr, path: &str) -> Result<(u16, Vec<u8>), String> {
    ask(server, "GET", path, &[], &[])
}

/// The status and the body of the answer to a request with these header lines and this body.
pub fn ask(
    server: SocketAddr,
    method: &str,
    path: &str,
    lines: &[&str],
    body: &[u8],
) -> Result<(u16, Vec<u8>), String> {
    // For a machine that has much else to do; what does not answer at all takes this long, too.
    let limit = Duration::from_secs(60);
    let fetch = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&server, limit)?;
        stream.set_read_timeout(Some(limit))?;
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !lines.iter().any(|line| line.starts_with("Host:")) {
            head += &format!("Host: {server}\r\n");
        }
        if !body.is_empty() {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        lines.iter().for_each(|line| head += &format!("{line}\r\n"));
        stream.write_all((head + "\r\n").as_bytes())?;
        // A server that wants none of it may close before all is sent.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = fetch().map_err(|e| format!("{method} {path} from {server}: {e}"))?;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n");
    let end = end.ok_or_else(|| format!("{server} answered without a head"))?;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| format!("{server} answered without a status"))?;
    let body = &answer[end + 4..];
    if head.contains("transfer-encoding: chunked") {
        return Ok((status, unchunked(body)));
    }
    Ok((status, body.to_vec()))
}

/// Serves `body` to whoever asks, for as long as the test runs; gives the address and each request's first line.
pub fn serve(body: Vec<u8>) -> (SocketAddr, Receiver<String>) {
    let (sender, requests) = mpsc::channel();
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            let _ = stream.read_line(&mut line);
            let _ = sender.send(line.trim_end().to_owned());
            line.clear();
            while stream.read_line(&mut line).is_ok_and(|n| n > 2) {
                line.clear();
            }
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let stream = stream.get_mut();
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&body));
        }
    });
    (address, requests)
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = String::from_utf8_lossy(&rest[..end]).trim().to_owned();
        let size = usize::from_str_radix(&size, 16).unwrap_or(0);
        let from = end + 2;
        if size == 0 || rest.len() < from + size + 2 {
            break;
        }
        body.extend_from_slice(&rest[from..from + size]);
        rest = &rest[from + size + 2..];
    }
    body
}
