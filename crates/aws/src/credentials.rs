//! Credentials, fetched once for all who need them and again before they end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError as ProviderError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::clock::Clock;

/// Renewed this long before they end, or in the last quarter of a shorter life.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// While the old ones are still good, a source is not asked more often: the instance metadata service, for one,
/// gives the same credentials again until they have nearly ended.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// What has no end may have been replaced in its file.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(15 * 60);
/// A source that hangs (a process, a metadata service) must not hang the rest.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A role to assume with the credentials of the default chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssumeRole {
    /// `arn:aws:iam::ACCOUNT:role/NAME`
    pub role_arn: String,
    /// What the role's trust policy asks for, if it does.
    pub external_id: Option<String>,
    /// Shown in CloudTrail.
    pub session_name: String,
}

/// The one cache before a chain of credential sources, for the SDK's clients and for what this crate signs itself.
/// The SDK's own cache could not be emptied when the service refuses what is in it.
#[derive(Clone, Debug)]
pub(crate) struct Cached {
    source: SharedCredentialsProvider,
    clock: Clock,
    // Held while the source is asked: it is asked once, however many wait.
    state: Arc<Mutex<Option<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    credentials: Credentials,
    /// AWS's time when they came, for comparison with their expiry.
    since: SystemTime,
    /// When the source was last asked.
    asked: Instant,
}

impl Entry {
    /// Good, and no reason to ask again.
    fn is_fresh(&self, now: SystemTime) -> bool {
        let asked = self.asked.elapsed();
        match self.credentials.expiry() {
            None => asked < READ_AGAIN_AFTER,
            Some(end) => {
                let life = end.duration_since(self.since).unwrap_or_default();
                now + RENEW_BEFORE.min(life / 4) < end || (now < end && asked < ASK_AGAIN_AFTER)
            }
        }
    }

    /// Better than nothing.
    fn is_valid(&self, now: SystemTime) -> bool {
        self.credentials.expiry().is_none_or(|end| now < end)
    }
}

impl Cached {
    pub(crate) fn new(source: SharedCredentialsProvider, clock: Clock) -> Self {
        Self { source, clock, state: Arc::default() }
    }

    pub(crate) async fn get(&self) -> Result<Credentials, ProviderError> {
        let mut state = self.state.lock().await;
        if let Some(entry) = state.as_ref().filter(|entry| entry.is_fresh(self.clock.now())) {
            return Ok(entry.credentials.clone());
        }
        let error = match self.ask().await {
            Ok(credentials) => {
                let entry = Entry { credentials, since: self.clock.now(), asked: Instant::now() };
                return Ok(state.insert(entry).credentials.clone());
            }
            Err(error) => error,
        };
        match state.as_mut().filter(|entry| entry.is_valid(self.clock.now())) {
            Some(old) => {
                tracing::warn!(%error, "credentials cannot be renewed; the old ones are still good");
                old.asked = Instant::now();
                Ok(old.credentials.clone())
            }
            None => Err(error),
        }
    }

    async fn ask(&self) -> Result<Credentials, ProviderError> {
        let skew = self.clock.skew_ms();
        let result = self.ask_once().await;
        // STS refuses what is signed at the wrong time, and says what time it is.
        if result.is_err() && self.clock.skew_ms() != skew { self.ask_once().await } else { result }
    }

    async fn ask_once(&self) -> Result<Credentials, ProviderError> {
        match timeout(ANSWER_WITHIN, self.source.provide_credentials()).await {
            Ok(result) => result,
            Err(_) => Err(ProviderError::provider_timed_out(ANSWER_WITHIN)),
        }
    }

    /// The service denied access. Perhaps they have been replaced where they come from: whoever wants them next has them
    /// fetched anew, but not in every attempt.
    pub(crate) async fn invalidate_denied(&self) {
        let mut state = self.state.lock().await;
        if state.as_ref().is_some_and(|entry| entry.asked.elapsed() >= ASK_AGAIN_AFTER) {
            *state = None;
        }
    }

    /// Whatever comes next is fetched anew.
    pub(crate) async fn invalidate(&self) {
        *self.state.lock().await = None;
    }
}

impl ProvideCredentials for Cached {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.get())
    }
}

/// The default chain of sources, and a role assumed with what it gives. Set up anew each time it is asked: the SDK reads
/// the files of a profile once and for ever, and a Secret that is mounted as such a file is replaced under it.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) http: SharedHttpClient,
    pub(crate) clock: Clock,
    pub(crate) region: Option<String>,
    pub(crate) profile: Option<String>,
    pub(crate) role: Option<AssumeRole>,
    /// Instead of the chain.
    pub(crate) fixed: Option<SharedCredentialsProvider>,
}

impl Chain {
    /// The SDK's configuration, with the provider of the chain or of what was given instead.
    pub(crate) async fn load(&self) -> SdkConfig {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(self.http.clone())
            .time_source(self.clock.clone())
            // The SDK would measure the skew too, and add it to a time that is corrected already.
            .disable_clock_skew_correction(true)
            // All bodies are small, and the timeout below is shorter.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(Duration::from_secs(3))
                    .operation_attempt_timeout(Duration::from_secs(8))
                    .build(),
            );
        if let Some(region) = self.region.clone() {
            loader = loader.region(Region::new(region));
        }
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(fixed) = &self.fixed {
            loader = loader.credentials_provider(fixed.clone());
        }
        loader.load().await
    }

    async fn ask(&self) -> Result<Credentials, ProviderError> {
        let config = self.load().await;
        let Some(role) = &self.role else {
            let provider = config
                .credentials_provider()
                .ok_or_else(|| ProviderError::not_loaded("no credential provider was set up"))?;
            return provider.provide_credentials().await;
        };
        let mut builder = aws_config::sts::AssumeRoleProvider::builder(&role.role_arn)
            .session_name(&role.session_name)
            .configure(&config);
        if let Some(id) = &role.external_id {
            builder = builder.external_id(id);
        }
        builder.build().await.provide_credentials().await
    }
}

impl ProvideCredentials for Chain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.ask())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Gives credentials number 1, 2, … that live as long as told; fails when that is zero.
    #[derive(Clone, Debug, Default)]
    struct Source {
        asked: Arc<AtomicU32>,
        life_secs: Arc<AtomicU32>,
        forever: bool,
    }

    impl ProvideCredentials for Source {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
            let life = self.life_secs.load(Ordering::Relaxed);
            let end = (!self.forever).then(|| SystemTime::now() + Duration::from_secs(life.into()));
            let credentials = Credentials::new(number.to_string(), "secret", None, end, "test");
            future::ProvideCredentials::ready(if life == 0 {
                Err(ProviderError::not_loaded("out of order"))
            } else {
                Ok(credentials)
            })
        }
    }

    fn cached(life_secs: u32, forever: bool) -> (Source, Cached) {
        let source = Source { life_secs: Arc::new(life_secs.into()), forever, ..Source::default() };
        let cached = Cached::new(SharedCredentialsProvider::new(source.clone()), Clock::default());
        (source, cached)
    }

    async fn number(cached: &Cached) -> String {
        cached.get().await.unwrap().access_key_id().to_owned()
    }

    #[tokio::test]
    async fn they_are_fetched_once() {
        let (source, cached) = cached(3600, false);
        let both = tokio::join!(number(&cached), number(&cached));
        assert_eq!(both, ("1".to_owned(), "1".to_owned()));
        assert_eq!(source.asked.load(Ordering::Relaxed), 1);
        cached.invalidate().await;
        assert_eq!(number(&cached).await, "2");
    }

    #[tokio::test]
    async fn without_an_end_they_are_read_again_now_and_then() {
        let (_, cached) = cached(1, true);
        assert_eq!(number(&cached).await, "1");
        asked(&cached, READ_AGAIN_AFTER - Duration::from_secs(1)).await;
        assert_eq!(number(&cached).await, "1");
        asked(&cached, READ_AGAIN_AFTER).await;
        assert_eq!(number(&cached).await, "2");
    }

    #[tokio::test]
    async fn refused_ones_are_fetched_again_but_not_in_every_attempt() {
        let (_, cached) = cached(3600, true);
        assert_eq!(number(&cached).await, "1");
        cached.invalidate_denied().await;
        assert_eq!(number(&cached).await, "1");
        asked(&cached, ASK_AGAIN_AFTER).await;
        cached.invalidate_denied().await;
        assert_eq!(number(&cached).await, "2");
    }

    /// As if the source had last been asked so long ago.
    async fn asked(cached: &Cached, ago: Duration) {
        cached.state.lock().await.as_mut().unwrap().asked = Instant::now().checked_sub(ago).unwrap();
    }

    #[test]
    fn they_are_renewed_before_they_end() {
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let entry = |life: u64, asked_ago: u64| Entry {
            credentials: Credentials::new("a", "s", None, Some(since + Duration::from_secs(life)), "test"),
            since,
            asked: Instant::now().checked_sub(Duration::from_secs(asked_ago)).unwrap(),
        };
        let after = |seconds: u64| since + Duration::from_secs(seconds);
        assert!(entry(3600, 60).is_fresh(after(3299)));
        assert!(!entry(3600, 60).is_fresh(after(3301)));
        // A token of a minute is not always on the point of ending.
        assert!(entry(60, 20).is_fresh(after(44)));
        assert!(!entry(60, 20).is_fresh(after(46)));
        // Just asked: the source has nothing newer.
        assert!(entry(3600, 5).is_fresh(after(3301)));
        assert!(!entry(3600, 5).is_fresh(after(3600)));
        assert!(entry(3600, 60).is_valid(after(3599)) && !entry(3600, 60).is_valid(after(3600)));
    }

    #[tokio::test]
    async fn old_ones_are_used_while_new_ones_cannot_be_had() {
        let (source, cached) = cached(3600, false);
        assert_eq!(number(&cached).await, "1");
        source.life_secs.store(0, Ordering::Relaxed);
        // As if 55.5 minutes had gone by.
        cached.clock.observe(&http_date(SystemTime::now() + Duration::from_secs(3330)));
        cached.state.lock().await.as_mut().unwrap().asked =
            Instant::now().checked_sub(ASK_AGAIN_AFTER).unwrap();
        assert_eq!(number(&cached).await, "1");
        assert_eq!(source.asked.load(Ordering::Relaxed), 2);
        cached.clock.observe(&http_date(SystemTime::now() + Duration::from_secs(3700)));
        let error = cached.get().await.unwrap_err();
        assert!(matches!(error, ProviderError::CredentialsNotLoaded(_)), "{error:?}");
    }

    fn http_date(time: SystemTime) -> String {
        let format = time::macros::format_description!(
            "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
        );
        time::OffsetDateTime::from(time).format(format).unwrap()
    }
}
