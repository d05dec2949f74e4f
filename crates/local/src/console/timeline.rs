//! `GET /_kvs/streams/NAME/timeline?from=MS&to=MS&resolution=MS`: what is stored of a stretch of time, as coarse as it is
//! drawn. A fragment that began before the stretch and reaches into it is part of it.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use serde_json::{Value, json};

use crate::{App, archive::Spans, error::ServiceError, model::Scope};

/// Steps of the resolution that one answer may have, and so its spans: more than a screen has pixels.
const MOST_STEPS: u64 = 8192;

#[derive(serde::Deserialize)]
pub(super) struct Stretch {
    region: Option<String>,
    from: u64,
    to: u64,
    resolution: u64,
}

pub(super) async fn timeline(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(stretch): Query<Stretch>,
) -> Result<axum::Json<Value>, ServiceError> {
    let Stretch { region, from, to, resolution } = stretch;
    if to < from {
        return Err(ServiceError::invalid("to", "must not be before from"));
    }
    if resolution == 0 || (to - from) / resolution >= MOST_STEPS {
        return Err(ServiceError::invalid(
            "resolution",
            format!(
                "must be at least 1 and make less than {MOST_STEPS} steps of the time between from and to"
            ),
        ));
    }
    let scope = Scope::of_region(region.as_deref().unwrap_or(&app.config.region));
    let stream = app.control.stream(&scope, &name)?;
    let mut spans = Spans::new(resolution);
    app.archive.visit(&stream.folder(), from, to, |info| spans.add(info));
    Ok(axum::Json(json!({ "spans": spans.finish() })))
}
