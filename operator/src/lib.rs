//! The operator of kvs-ingest: validate → resolve → build → apply → observe → report, for each `KvsIngest`.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "an application: what is `pub` here is for its own binary and its tests")]

pub mod admin;
mod agent;
pub mod api_server;
mod apply;
mod aws;
pub mod build;
mod bulkhead;
mod cached;
mod change_filter;
pub mod conditions;
pub mod context;
pub mod controller;
mod delete;
mod deletion_report;
mod ending;
mod events;
pub mod lease;
mod lz4;
mod managed;
pub mod metrics;
mod names;
mod neighbours;
mod object;
mod observe;
mod office;
mod output_files;
mod owners;
mod pace;
mod permit;
pub mod poll;
mod publish;
pub mod reason;
mod reconcile;
mod recording;
mod refusal;
pub mod report;
mod resolve;
mod resync;
mod rivalry;
mod rollout;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod simulation;
mod state;
pub mod telemetry;
pub mod tenancy;
mod transitions;
mod validate;
mod watches;
mod words;
mod workload;
