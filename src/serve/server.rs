//! Listening, and coming to an end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, Semaphore};

use super::models::Source;
use super::router::router;
use super::stall::Stalling;
use super::{App, Options, Shared};

/// Connections at a time; others wait to be accepted.
const CONNECTIONS: usize = 256;
/// How long a client may take to send a request's head.
const HEAD: Duration = Duration::from_secs(30);
/// How often it is looked for what is too old.
const SWEEP: Duration = Duration::from_secs(15);

/// A server that has its address, and answers once it runs.
pub struct Server {
    app: App,
    sources: Vec<Source>,
    runtime: Runtime,
    listener: std::net::TcpListener,
    address: SocketAddr,
    handle: Handle,
}

/// Stops a server from another thread.
#[derive(Clone)]
pub struct Handle {
    asked: Arc<Notify>,
    stopping: Arc<AtomicBool>,
}

impl Handle {
    /// Nobody is let in any more; what runs is finished.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.asked.notify_one();
    }

    /// Whether somebody has.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

impl Server {
    /// Takes the address. The models are loaded in the order given, once the server runs.
    ///
    /// # Errors
    /// When it cannot be had: taken already, or not allowed.
    pub fn bind(options: Options, sources: Vec<Source>) -> io::Result<Self> {
        let address = SocketAddr::new(options.host, options.port);
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("hrseg-net").enable_all().build()?;
        let app = Shared::new(options, &sources);
        let handle = Handle { asked: Arc::default(), stopping: Arc::default() };
        Ok(Self { app, sources, runtime, listener, address, handle })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// To stop it with.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Answers until it is stopped. The calling thread is the one that computes: of a program that has called
    /// [`seg_ops::keep_threads_awake`], the same one.
    ///
    /// # Errors
    /// When the address is lost.
    pub fn run(self) -> io::Result<()> {
        let Self { app, sources, runtime, listener, handle, .. } = self;
        let (models, stopped) = (Arc::clone(&app), handle.clone());
        let loading = std::thread::Builder::new().name("hrseg-load".into());
        // it ends by itself, after the model at hand
        loading.spawn(move || models.models.load(sources, &|| stopped.is_stopping()))?;
        let (served, queue) = (Arc::clone(&app), Arc::clone(&app.queue));
        let listening = runtime.spawn(async move {
            let result = listen(&served, listener, &handle).await;
            // whatever ended it: the thread that computes must not wait for ever
            served.queue.close();
            result
        });
        queue.work();
        let result = runtime.block_on(listening).unwrap_or_else(|error| Err(io::Error::other(error)));
        runtime.shutdown_timeout(Duration::from_secs(1));
        result
    }
}

async fn listen(app: &App, listener: std::net::TcpListener, handle: &Handle) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let router = router(app);
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let open = GracefulShutdown::new();
    let mut sweep = tokio::time::interval(SWEEP.min(app.options.keep.max(Duration::from_millis(10))));
    loop {
        let permit = tokio::select! {
            () = handle.asked.notified() => break,
            _ = sweep.tick() => {
                app.store.sweep();
                continue;
            }
            permit = Arc::clone(&connections).acquire_owned() => permit.map_err(io::Error::other)?,
        };
        let stream = tokio::select! {
            () = handle.asked.notified() => break,
            _ = sweep.tick() => {
                app.store.sweep();
                continue;
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // one client's fault, or too many open files: neither ends the server
                Err(error) => {
                    tracing::debug!("a connection was not accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(Stalling::new(stream, app.options.patience)), service);
        let connection = open.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended: {error}");
            }
            drop(permit);
        });
    }
    drop(listener);
    let grace = app.options.grace;
    let all = open.shutdown();
    tokio::pin!(all);
    // what runs gets its time; then what still runs is told to stop, and a moment to say so
    if tokio::time::timeout(grace, &mut all).await.is_err() {
        app.queue.break_off();
        let _ = tokio::time::timeout(Duration::from_secs(2), all).await;
    }
    Ok(())
}
