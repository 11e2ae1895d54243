//! A real browser at the running platform: Chromium walks the shop as people do, in both languages, and axe looks at every
//! page that it comes by.

mod chromium;
mod pages;
mod sessions;
mod single_page;
mod story;
