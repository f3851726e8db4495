//! The tenement host agent, as a library, so that its parts can be tested and proven apart.
//!
//! The modules stand on floors, and `use` only points down (a test proves it):
//! 1 pure: [`config`], [`plan`], [`framing`], [`routes`], [`sigv4`], [`token`] · 2 edges: [`dns`], [`hook`], [`otlp`], [`access`], [`archive`], [`kernel`], [`systemd`], [`store`],
//! [`units`], [`unpack`], [`upstream`], [`relay`], [`tls`], [`vault`] · 3 flows: [`flows`] · 4 doors: [`proxy`], [`api`] · 5 app: [`app`], [`unitd`].

pub mod access;
pub mod api;
pub mod app;
pub mod archive;
pub mod config;
pub mod dns;
pub mod flows;
pub mod framing;
pub mod hook;
pub mod kernel;
pub mod otlp;
pub mod plan;
pub mod proxy;
pub mod relay;
pub mod routes;
pub mod sigv4;
pub mod store;
pub mod systemd;
pub mod tls;
pub mod token;
pub mod unitd;
pub mod units;
pub mod unpack;
pub mod upstream;
pub mod vault;
