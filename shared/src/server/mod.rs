//! A service's listener. Owns what every service answers alike (health, readiness, metrics, API documents, unknown paths)
//! and the graceful stop; knows no endpoint of a service.

mod body;
mod connection;
mod cross_origin;
mod documents;
mod head;
mod late;
mod observe;
mod readiness;
mod route;
#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_http::{HttpService, KeepAlive, Protocol};
use actix_server::{Server, ServerHandle};
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::{App, Error, middleware, web};
use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use utoipa_actix_web::AppExt as _;
use utoipa_actix_web::service_config::ServiceConfig;

use self::connection::{Connection, Limits, Peer};
pub use self::readiness::Readiness;
pub use self::route::{ROUTE_COOKIE, Route};
use crate::calls;
use crate::config::Settings;
use crate::pauses::Pauses;
use crate::program;
use crate::request::BODY_PATIENCE;
use crate::telemetry;

/// Where and as what a service listens.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The service's name: `cart-service`. In metrics, logs and the API documents.
    pub name: &'static str,
    /// What the API documents say of it.
    pub description: &'static str,
    pub version: &'static str,
    pub address: SocketAddr,
    /// The setting that names the address.
    pub address_setting: &'static str,
    /// How long a stopping service still takes requests while it already says that it is not ready, so that the gateway
    /// turns away from it first.
    pub drain: Duration,
    /// How long a request's body may take to arrive, whichever endpoint reads it.
    pub body_patience: Duration,
    /// Networks of the gateway and the services: a trace that others name is not gone on with.
    pub trace_callers: Vec<IpNet>,
    /// What this node is called in the route cookie, where a gateway leads browsers by it.
    pub route: Option<Route>,
    /// The paths whose answers scripts of every origin may read, never with a browser's credentials (CORS).
    pub open_paths: &'static [&'static str],
    /// Paths at which something ends (a path that closes with `/` stands for all below it): a request there is carried out though
    /// its client has hung up. It may be carried out twice, and a person who leaves the page at once is signed out.
    pub ending_paths: &'static [&'static str],
}

impl ServerConfig {
    /// Reads `address_setting`, `DRAIN` and `TRACE_CALLERS`.
    pub fn read(
        settings: &mut Settings,
        (name, description, version): (&'static str, &'static str, &'static str),
        (address_setting, default_address): (&'static str, &str),
    ) -> Self {
        let address = settings.or(address_setting, default_address, "where the service listens");
        let meaning = "how long a stopping service still answers while it says that it is not ready";
        let drain = settings.or("DRAIN", "0s", meaning);
        let meaning = "networks of the gateway and the services, whose traceparent is gone on with";
        let trace_callers = settings.or("TRACE_CALLERS", "127.0.0.0/8,::1", meaning);
        Self {
            name,
            description,
            version,
            address,
            address_setting,
            drain,
            body_patience: BODY_PATIENCE,
            trace_callers,
            route: None,
            open_paths: &[],
            ending_paths: &[],
        }
    }
}

/// A service that listens. Dropping it aborts it; [`Running::stop`] lets it finish.
pub struct Running {
    service: &'static str,
    address: SocketAddr,
    drain: Duration,
    draining: Arc<AtomicBool>,
    handle: ServerHandle,
    server: JoinHandle<std::io::Result<()>>,
    tasks: JoinSet<()>,
    #[cfg(feature = "database")]
    databases: Vec<crate::database::Database>,
}

/// Opens the listener. A port that is taken is an error that says so.
///
/// # Errors
/// The address cannot be listened on.
pub fn bind(config: &ServerConfig) -> anyhow::Result<TcpListener> {
    let (address, setting) = (config.address, config.address_setting);
    TcpListener::bind(address).map_err(|error| program::cannot_listen(error, address, setting))
}

/// Listens on `config.address` (port 0 takes a free one) and answers until it is stopped.
///
/// # Errors
/// The address cannot be listened on.
pub fn serve(
    config: &ServerConfig,
    readiness: Readiness,
    endpoints: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) -> anyhow::Result<Running> {
    serve_on(bind(config)?, config, readiness, endpoints)
}

/// As [`serve`], on a listener that is open already: for a service that must know its address before it starts.
///
/// # Errors
/// The listener cannot be used.
pub fn serve_on(
    listener: TcpListener,
    config: &ServerConfig,
    readiness: Readiness,
    endpoints: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) -> anyhow::Result<Running> {
    telemetry::metrics();
    metrics::gauge!("roam_build_info", "service" => config.name, "version" => config.version).set(1.0);
    let address = listener.local_addr()?;
    let draining = Arc::new(AtomicBool::new(false));
    let (service, readiness) = (config.name, web::Data::new(readiness.with_draining(draining.clone())));
    let base = documents::base(config);
    let route = config.route.clone().map(Arc::new);
    if route.is_some() {
        telemetry::describe(route::METRICS);
    }
    // Pauses count from here on.
    Pauses::of_this_process();
    let closing = draining.clone();
    let (body_patience, trace_callers) = (config.body_patience, config.trace_callers.clone());
    let (open_paths, ending_paths) = (config.open_paths, config.ending_paths);
    let application = move || {
        let route = route.clone();
        let observer = Rc::new(observe::Observer::new(service, closing.clone(), trace_callers.clone()));
        let (app, api) = App::new()
            .app_data(readiness.clone())
            .into_utoipa_app()
            .openapi(base.clone())
            .configure(|config: &mut ServiceConfig| endpoints(config))
            .split_for_parts();
        let unknown = documents::unknown_path(&api);
        app.wrap(middleware::from_fn(crate::authentication::answer_with_cookies))
            .wrap(middleware::from_fn(move |request, next| body::bound(body_patience, request, next)))
            .route("/healthz", web::get().to(readiness::healthz))
            .route("/readyz", web::get().to(readiness::readyz))
            .route("/metrics", web::get().to(readiness::metrics))
            .configure(|config| documents::serve(config, api))
            .default_service(unknown)
            .wrap(middleware::from_fn(move |request, next| route::lead(route.clone(), request, next)))
            .wrap(middleware::from_fn(move |request, next| late::refuse(ending_paths, request, next)))
            .wrap(middleware::from_fn(move |request, next| cross_origin::share(open_paths, request, next)))
            .wrap(middleware::from_fn(move |request, next| observe::observe(observer.clone(), request, next)))
            .wrap(middleware::from_fn(head::as_get))
    };
    let server = Server::build()
        .workers(std::thread::available_parallelism().map_or(2, |cores| cores.get().min(8)))
        .shutdown_timeout(20)
        .disable_signals();
    let stopping = server.graceful_shutdown_signal();
    let connections = move || {
        let stopping = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            // The connection has limits of its own.
            .keep_alive(KeepAlive::Os)
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(Duration::from_secs(1))
            .local_addr(address)
            .on_connect_ext(Peer::note)
            .finish(map_config(application().into_factory().map_err(|error: Error| error.error_response()), |()| {
                AppConfig::default()
            }));
        fn_service(async |stream: TcpStream| {
            let client = stream.peer_addr().ok();
            Ok((Connection::new(stream, Limits::default()), Protocol::Http1, client))
        })
        .and_then(http)
    };
    let server = server.listen(service, listener, connections)?.run();
    let handle = server.handle();
    tracing::info!(service, %address, "listening");
    let server = tokio::spawn(server);
    Ok(Running {
        service,
        address,
        drain: config.drain,
        draining,
        handle,
        server,
        tasks: JoinSet::new(),
        #[cfg(feature = "database")]
        databases: Vec::new(),
    })
}

impl Running {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives it a background task, which ends when the service stops.
    pub fn keep(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(calls::in_service(self.service, task));
    }

    /// Gives it a database to close when all is done: SQLite then writes everything into its one file, fit to be copied.
    #[cfg(feature = "database")]
    pub fn close_at_the_end(&mut self, database: &crate::database::Database) {
        self.databases.push(database.clone());
    }

    /// Stops: says that it is not ready, drains, finishes the requests under way, ends the background tasks.
    pub async fn stop(mut self) {
        self.draining.store(true, Ordering::Relaxed);
        tokio::time::sleep(self.drain).await;
        self.handle.stop(true).await;
        if let Ok(Err(error)) = (&mut self.server).await {
            tracing::error!(%error, "the listener failed");
        }
        self.tasks.shutdown().await;
        #[cfg(feature = "database")]
        for database in &self.databases {
            // A query of a task that was ended may hold a connection for a moment longer.
            if tokio::time::timeout(Duration::from_secs(5), database.close()).await.is_err() {
                tracing::warn!("the database was not closed in time");
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Runs until SIGTERM or SIGINT, then stops the services, all at the same time.
pub async fn until_stopped(services: Vec<Running>) {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(error) => tracing::error!(%error, "signals cannot be waited for: stopping"),
        }
    };
    tokio::select! {
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::interrupt()) => {}
    }
    tracing::info!("stopping");
    futures_util::future::join_all(services.into_iter().map(Running::stop)).await;
}
