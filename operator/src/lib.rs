//! The operator of kvs-ingest: resolve → validate → build → apply → report, for each `KvsIngest`.
#![forbid(unsafe_code)]

pub mod admin;
pub mod agent;
pub mod apply;
pub mod aws;
pub mod build;
pub mod context;
pub mod controller;
pub mod events;
pub mod lease;
pub mod metrics;
pub mod names;
pub mod owners;
pub mod pace;
pub mod reconcile;
pub mod report;
pub mod stored;
pub mod telemetry;
pub mod watches;
pub mod workload;
