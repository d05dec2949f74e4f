//! A synthetic KVS master on str0m. It shares no code with the agent: another WebRTC stack, another signaling client.
//! It remembers every frame it sent, so that a test can ask for each of them.

pub mod channel;
pub mod clip;
pub mod network;
mod session;
mod settings;
pub mod shapes;
pub mod time;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep};

use self::channel::{Access, Channel, Incoming, ensure_channel};
use self::clip::{VideoClip, opus_packets};
pub use self::session::{Beep, Farewell, Sent, SentFrame};
use self::session::{Command, Media, Session};
pub use self::settings::{Answering, Defect, NUMBERS, Settings};

/// Between candidates: the service takes twenty a second.
const CANDIDATE_PACE: Duration = Duration::from_millis(55);

/// A master on a channel; gone when dropped.
pub struct Master {
    sessions: Arc<Mutex<Vec<Arc<Mutex<Sent>>>>>,
    // Dropping the sender ends the task and, with it, every session.
    stop: watch::Sender<Option<Leave>>,
    task: JoinHandle<()>,
}

impl Master {
    /// Creates the channel when it is missing and is its master from when this returns.
    pub async fn start(access: &Access, channel: &str, settings: Settings) -> Result<Self> {
        let mut clips = Vec::new();
        for &(width, height) in &settings.sizes {
            clips.push(VideoClip::made(width, height, settings.picture).await?);
        }
        let media = Arc::new(Media::new(clips, opus_packets(settings.sound).await?));
        let arn = ensure_channel(access, channel).await?;
        let connected = Channel::connect(access, &arn).await?;
        let sessions = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = watch::channel(None);
        let task = tokio::spawn({
            let (access, sessions) = (access.clone(), sessions.clone());
            async move {
                let server = Server { access, arn, settings, media, sessions };
                server.run(connected, stopped).await;
            }
        });
        Ok(Self { sessions, stop, task })
    }

    /// What every viewer so far was sent, in the order of their offers.
    pub fn sent(&self) -> Vec<Sent> {
        self.sessions
            .lock()
            .expect("not poisoned")
            .iter()
            .map(|sent| sent.lock().expect("not poisoned").clone())
            .collect()
    }

    /// Waits until `condition` holds for what was sent.
    pub async fn wait_for(
        &self,
        what: &str,
        deadline: Duration,
        condition: impl Fn(&[Sent]) -> bool,
    ) -> Result<Vec<Sent>> {
        tokio::time::timeout(deadline, async {
            loop {
                let sent = self.sent();
                if condition(&sent) {
                    return sent;
                }
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .with_context(|| format!("waited {deadline:?} for the master to have {what}"))
    }

    /// As [`Self::stop`], but what was sent can still be asked for.
    pub fn vanish(&self) {
        let _ = self.stop.send(Some(Leave::Silently));
    }

    /// Leaves without a word, as a master that lost its power does. What every viewer was sent, in the end.
    pub async fn stop(self) -> Vec<Sent> {
        self.end(Leave::Silently).await
    }

    /// Leaves as one that is switched off properly: every viewer is told. What they were sent, in the end.
    pub async fn leave(self, farewell: Farewell) -> Vec<Sent> {
        self.end(Leave::With(farewell)).await
    }

    async fn end(mut self, leave: Leave) -> Vec<Sent> {
        let _ = self.stop.send(Some(leave));
        let _ = (&mut self.task).await;
        self.sent()
    }
}

/// How a master ends.
#[derive(Clone, Copy, Debug)]
enum Leave {
    Silently,
    With(Farewell),
}

struct Server {
    access: Access,
    arn: String,
    settings: Settings,
    media: Arc<Media>,
    sessions: Arc<Mutex<Vec<Arc<Mutex<Sent>>>>>,
}

impl Server {
    async fn run(&self, channel: Channel, mut stopped: watch::Receiver<Option<Leave>>) {
        let mut viewers: HashMap<String, mpsc::Sender<Command>> = HashMap::new();
        self.serve(channel, &mut stopped, &mut viewers).await;
        let leave = *stopped.borrow();
        let farewell = match leave {
            Some(Leave::With(farewell)) => Some(farewell),
            Some(Leave::Silently) => None,
            // Nobody waits for the end.
            None => return,
        };
        for commands in viewers.into_values() {
            let _ = commands.send(Command::Leave(farewell)).await;
            // Until it has ended: what was sent is known then.
            commands.closed().await;
        }
    }

    async fn serve(
        &self,
        mut channel: Channel,
        stopped: &mut watch::Receiver<Option<Leave>>,
        viewers: &mut HashMap<String, mpsc::Sender<Command>>,
    ) {
        let mut early: HashMap<String, Vec<String>> = HashMap::new();
        let mut ping = interval(Duration::from_secs(10));
        loop {
            let incoming = tokio::select! {
                _ = stopped.changed() => return,
                _ = ping.tick() => {
                    if channel.ping().await.is_ok() {
                        continue;
                    }
                    Incoming::Closed
                }
                incoming = channel.receive() => incoming,
            };
            match incoming {
                Incoming::Offer { viewer, sdp } => match self.accept(&mut channel, &viewer, &sdp).await {
                    Ok(commands) => {
                        for candidate in early.remove(&viewer).unwrap_or_default() {
                            let _ = commands.send(Command::Candidate(candidate)).await;
                        }
                        // A second offer of the same viewer replaces the first session, as the JavaScript page does.
                        viewers.insert(viewer, commands);
                    }
                    Err(error) => tracing::warn!("master: offer of {viewer}: {error:#}"),
                },
                Incoming::Candidate { viewer, candidate } => match viewers.get(&viewer) {
                    Some(commands) => {
                        let _ = commands.send(Command::Candidate(candidate)).await;
                    }
                    None => early.entry(viewer).or_default().push(candidate),
                },
                Incoming::Closed => {
                    // The sessions live on: media outlives signaling.
                    tokio::select! {
                        _ = stopped.changed() => return,
                        connected = self.reconnect() => channel = connected,
                    }
                }
            }
        }
    }

    async fn reconnect(&self) -> Channel {
        loop {
            match Channel::connect(&self.access, &self.arn).await {
                Ok(channel) => return channel,
                Err(error) => tracing::warn!("master: {error:#}"),
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    async fn accept(&self, channel: &mut Channel, viewer: &str, sdp: &str) -> Result<mpsc::Sender<Command>> {
        let sent = Arc::new(Mutex::new(Sent { viewer: viewer.to_owned(), ..Sent::default() }));
        let before = self.sessions.lock().expect("not poisoned").len() as u64;
        let first = self.settings.first_number.map_or(0, |first| first + before * NUMBERS);
        let session = Session::accept(sdp, &self.settings, first, self.media.clone(), sent.clone()).await?;
        self.sessions.lock().expect("not poisoned").push(sent.clone());
        channel.answer(viewer, &session.answer).await?;
        channel.candidate(viewer, &session.candidate).await?;
        for candidate in &self.settings.candidates {
            sleep(CANDIDATE_PACE).await;
            channel.candidate(viewer, candidate).await?;
        }
        // Full when the session is stuck: then nothing more is read from the channel, which shows in the test.
        let (commands, receiver) = mpsc::channel(64);
        let viewer = viewer.to_owned();
        tokio::spawn(async move {
            if let Err(error) = session.run(receiver).await {
                tracing::warn!("master: session of {viewer}: {error:#}");
            }
            sent.lock().expect("not poisoned").ended = true;
        });
        Ok(commands)
    }
}

#[cfg(test)]
mod tests;
