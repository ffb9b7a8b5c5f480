//! Connections of the admin socket, within bounds: who connects is trusted, and may be a program gone wrong all the same.

use super::route::{Answer, answer};
use super::{Control, Fault};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Connections at one time; more wait.
const CONNECTIONS: usize = 32;

/// The head of a request must arrive within this time, and its body.
const REQUEST: Duration = Duration::from_secs(5);

/// A connection lasts no longer: no answer takes as long, and whoever does not read it is not waited for.
const CONNECTION: Duration = Duration::from_secs(60);

/// The largest head of a request.
const MAX_HEAD: usize = 16 << 10;

/// The largest body of a request.
const MAX_BODY: usize = 16 << 10;

/// A pause after the system could not accept: what it lacks is lacking for a moment.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves the socket for as long as the future lives.
pub async fn serve(listener: UnixListener, control: Arc<dyn Control>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Nobody closes it.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let control = Arc::clone(&control);
                tokio::spawn(async move {
                    // Whoever takes longer is cut off, and knows it.
                    timeout(CONNECTION, converse(stream, control)).await.ok();
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin socket accepts no connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// One request, one answer.
async fn converse(stream: UnixStream, control: Arc<dyn Control>) {
    let service = service_fn(|request| {
        let control = Arc::clone(&control);
        async move { Ok::<_, Infallible>(respond(request, &*control).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to the admin socket broke");
    }
}

async fn respond(request: Request<Incoming>, control: &dyn Control) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let answer = match timeout(REQUEST, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => answer(&head, &body.to_bytes(), control).await,
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Answer::fault(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {MAX_BODY} bytes"))
        }
        Ok(Err(_)) => Answer::fault(StatusCode::BAD_REQUEST, "the body is cut or broken"),
        Err(_) => Answer::fault(StatusCode::REQUEST_TIMEOUT, format!("the body did not arrive within {REQUEST:?}")),
    };
    let mut response = Response::new(Full::from(answer.json));
    *response.status_mut() = answer.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Answer {
    pub(super) fn fault(status: StatusCode, error: impl Into<String>) -> Self {
        Self::json(status, &Fault { error: error.into() })
    }
}
