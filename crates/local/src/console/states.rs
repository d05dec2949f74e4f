//! `POST /_kvs/states`: how long channels and streams are CREATING, UPDATING and DELETING from now on, from this machine only.
//!
//! `{"creatingMs"?: N, "updatingMs"?: N, "deletingMs"?: N}`; what is absent stays. It counts for what is under way too: who
//! wants to see a state sets a long time, and ends it with 0. Answers with all three.

use std::{sync::Arc, time::Duration};

use axum::extract::{Request, State};
use serde_json::json;

use crate::{
    App,
    answer::{Answer, Json},
    body,
    members::Members,
};

/// A day.
const MAX_MS: i64 = 86_400_000;

pub(super) async fn states(State(app): State<Arc<App>>, request: Request) -> Answer {
    let body = body::read(request.into_body()).await?;
    let members = Members::parse(&body)?;
    let mut times = app.control.times();
    for (member, time) in [
        ("creatingMs", &mut times.creating),
        ("updatingMs", &mut times.updating),
        ("deletingMs", &mut times.deleting),
    ] {
        if let Some(ms) = members.integer(member, 0..=MAX_MS)? {
            *time = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        }
    }
    app.control.set_times(times);
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Ok(Json(json!({
        "creatingMs": ms(times.creating),
        "updatingMs": ms(times.updating),
        "deletingMs": ms(times.deleting),
    })))
}
