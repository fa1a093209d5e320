//! The relay of a proxy: accepts, connects, and gives each pair of connections a task of its own.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::Target;
use super::control::Control;
use super::line::{Cut, Line};

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub async fn serve(listener: std::net::TcpListener, target: Target, control: Arc<Control>) {
    let listener = TcpListener::from_std(listener).expect("a listener");
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        if control.refuses() {
            let _ = client.set_zero_linger();
            continue;
        }
        tokio::spawn(relay(client, target.clone(), control.clone()));
    }
}

async fn connect(target: &Target) -> std::io::Result<Box<dyn Stream>> {
    Ok(match target {
        Target::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
        Target::Unix(path) => Box::new(UnixStream::connect(path).await?),
    })
}

async fn relay(mut client: TcpStream, target: Target, control: Arc<Control>) {
    let mut resets = control.watch_resets();
    let Ok(server) = connect(&target).await else {
        // As a server that is down answers.
        let _ = client.set_zero_linger();
        return;
    };
    let _ = client.set_nodelay(true);
    control.count(|counts| {
        (counts.connections, counts.open) = (counts.connections + 1, counts.open + 1)
    });
    let (from_server, to_server) = tokio::io::split(server);
    let line = Line::new(control);
    let cut = {
        let (from_client, to_client) = client.split();
        tokio::select! {
            _ = resets.changed() => Cut::Reset,
            cut = line.requests(from_client, to_server) => cut,
            cut = line.replies(from_server, to_client) => cut,
        }
    };
    if matches!(cut, Cut::Reset) {
        let _ = client.set_zero_linger();
    }
    line.end();
}
