//! The API documents (`/openapi.json`, `/docs`) and, from the same source, the answer to what they do not name: 404 for
//! an unknown path, 405 with `Allow` for an unknown method.

use std::sync::Arc;

use actix_web::dev::ResourceDef;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, LOCATION};
use actix_web::{HttpRequest, HttpResponse, Route, web};
use utoipa::openapi::path::PathItem;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_swagger_ui::SwaggerUi;

use super::ServerConfig;
use crate::problem::Problem;

/// The document's head, before the endpoints are added.
pub(super) fn base(config: &ServerConfig) -> OpenApi {
    let info = InfoBuilder::new().title(config.name).description(Some(config.description)).version(config.version);
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("An access token of the auth service (RFC 9068)."))
        .build();
    let mut components = Components::new();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    OpenApiBuilder::new().info(info.build()).components(Some(components)).build()
}

pub(super) fn serve(config: &mut web::ServiceConfig, api: OpenApi) {
    config
        .route(
            "/docs",
            web::get().to(|| async { HttpResponse::SeeOther().insert_header((LOCATION, "/docs/")).finish() }),
        )
        .service(SwaggerUi::new("/docs/{_:.*}").url("/openapi.json", api));
}

/// Answers what no endpoint answers.
pub(super) fn unknown_path(api: &OpenApi) -> Route {
    let known: Arc<Vec<(ResourceDef, String)>> = Arc::new(
        api.paths
            .paths
            .iter()
            .map(|(path, item)| (ResourceDef::new(path.as_str()), methods(item).join(", ")))
            .collect(),
    );
    web::to(move |request: HttpRequest| {
        let allowed = known.iter().find(|(path, _)| path.is_match(request.path())).map(|(_, methods)| methods.clone());
        async move {
            Err::<HttpResponse, Problem>(match allowed {
                None => Problem::not_found("path"),
                Some(methods) => {
                    let detail = format!("this path answers {methods}");
                    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail).header(ALLOW, methods)
                }
            })
        }
    })
}

fn methods(item: &PathItem) -> Vec<&'static str> {
    let operations = [
        ("GET", item.get.is_some()),
        ("HEAD", item.get.is_some()),
        ("PUT", item.put.is_some()),
        ("POST", item.post.is_some()),
        ("DELETE", item.delete.is_some()),
        ("PATCH", item.patch.is_some()),
    ];
    operations.into_iter().filter_map(|(method, there)| there.then_some(method)).collect()
}
