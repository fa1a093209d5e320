//! A worker in the same process as an actix-web server: one handler enqueues, one gives the result.
//!
//! ```sh
//! cargo run --example actix_web_embed              # serves until Ctrl-C
//! curl -X POST http://127.0.0.1:8080/greet -d Ada  # answers the task's id
//! curl http://127.0.0.1:8080/greet/<id>            # answers its result
//! ```
//!
//! With `--once` it asks itself these two questions on a free port and exits.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, error, web};
use oncue::task::TaskId;
use oncue::{Client, Task, TaskResult};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Greet(String);

impl Task for Greet {
    const KIND: &'static str = "greet";
    const RETENTION: Duration = Duration::from_secs(300);
}

async fn greet(task: Greet) -> TaskResult<String> {
    Ok(format!("hello {}", task.0))
}

async fn enqueue(client: web::Data<Client>, name: String) -> actix_web::Result<HttpResponse> {
    let job = client.enqueue(Greet(name)).await.map_err(failed)?;
    Ok(HttpResponse::Accepted().body(job.id().to_string()))
}

async fn result(client: web::Data<Client>, id: web::Path<String>) -> actix_web::Result<String> {
    let id: TaskId = id.parse().map_err(error::ErrorBadRequest)?;
    let job = client.handle(Greet::QUEUE, id).map_err(failed)?;
    job.result().timeout(Duration::from_secs(5)).await.map_err(failed)
}

/// The predicates of an error become the statuses of HTTP.
fn failed(error: oncue::Error) -> actix_web::Error {
    match error {
        error if error.is_invalid() => error::ErrorBadRequest(error),
        error if error.is_no_result() => error::ErrorNotFound(error),
        error if error.is_timeout() => error::ErrorGatewayTimeout(error),
        error => error::ErrorServiceUnavailable(error),
    }
}

/// One request over a plain socket, so that the example needs no HTTP client; answers the body.
fn ask(server: SocketAddr, request: &str, body: &str) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(server)?;
    let length = body.len();
    write!(
        socket,
        "{request} HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    println!("{request} -> {}", answer.lines().next().unwrap_or("nothing"));
    Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

fn once(server: SocketAddr) -> std::io::Result<()> {
    let id = ask(server, "POST /greet", "Ada")?;
    println!("{}", ask(server, &format!("GET /greet/{id}"), "")?);
    Ok(())
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let is_once = std::env::args().any(|argument| argument == "--once");
    let client = oncue::connect("sqlite::memory:").await?;
    let worker = client.worker().handle(greet).start().await?;
    let shared = web::Data::new(client);
    let app = move || {
        App::new()
            .app_data(shared.clone())
            .route("/greet", web::post().to(enqueue))
            .route("/greet/{id}", web::get().to(result))
    };
    let server =
        HttpServer::new(app).workers(1).bind(("127.0.0.1", if is_once { 0 } else { 8080 }))?;
    let address = server.addrs()[0];
    let server = server.run();
    if is_once {
        let handle = server.handle();
        let serving = actix_web::rt::spawn(server);
        web::block(move || once(address)).await??;
        handle.stop(true).await;
        serving.await??;
    } else {
        println!("serving on http://{address} until Ctrl-C");
        server.await?;
    }
    let report = worker.shutdown().await?;
    println!("completed {}", report.completed);
    Ok(())
}
