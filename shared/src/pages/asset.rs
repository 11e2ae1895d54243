//! The files that every page uses. Owns their addresses, which change with their content, and how long they may be kept.

use std::sync::LazyLock;

use actix_web::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse, web};
use aws_lc_rs::digest;

use crate::problem::Problem;

struct Asset {
    name: &'static str,
    content_type: &'static str,
    content: &'static str,
    /// Of the content: 64 bits of its SHA-256, in hexadecimal digits.
    version: String,
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let files = [
        ("style.css", "text/css; charset=utf-8", include_str!("../../assets/style.css")),
        ("page.js", "text/javascript; charset=utf-8", include_str!("../../assets/page.js")),
        ("submit.js", "text/javascript; charset=utf-8", include_str!("../../assets/submit.js")),
        ("icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
    ];
    let asset = |(name, content_type, content): (_, _, &'static str)| {
        let hash = digest::digest(&digest::SHA256, content.as_bytes());
        let version = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Asset { name, content_type, content, version }
    };
    files.into_iter().map(asset).collect()
});

/// Adds `/assets`.
pub fn assets(config: &mut web::ServiceConfig) {
    config.service(web::resource("/assets/{name}").get(file));
}

/// An asset's address as this release has it. A name that is none is a mistake of the template, and answers 404.
pub(super) fn address(name: &str) -> String {
    let version = ASSETS.iter().find(|asset| asset.name == name).map_or("", |asset| asset.version.as_str());
    format!("/assets/{name}?v={version}")
}

async fn file(request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, Problem> {
    let asset = ASSETS.iter().find(|asset| asset.name == *name).ok_or_else(|| Problem::not_found("file"))?;
    let tag = format!("\"{}\"", asset.version);
    let is_kept = request.headers().get(IF_NONE_MATCH).is_some_and(|kept| kept.as_bytes() == tag.as_bytes());
    let is_this_version = request.query_string().strip_prefix("v=") == Some(&asset.version);
    // While releases are rolled out, one may be asked for the other's file: that answer is kept for nobody's later use.
    let caching = if is_this_version { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut answer = if is_kept { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer.insert_header((ETAG, tag)).insert_header((CACHE_CONTROL, caching));
    if is_kept {
        return Ok(answer.finish());
    }
    Ok(answer.content_type(asset.content_type).body(asset.content))
}
