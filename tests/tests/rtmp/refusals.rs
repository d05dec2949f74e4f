//! Servers that do not take the broadcast: each says why, and none is in another's way.

use kvs_ingest_tests::master::Settings;
use kvs_ingest_tests::rtmp::tls::Stunnel;
use kvs_ingest_tests::stored::nothing_lost;

use crate::world::{DEADLINE, Output, World, broadcasts, decodes, output};

/// Through stunnel with its authority; and beside it one whose authority nobody knows, one with the certificate of another,
/// one that does not know the key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_and_what_is_refused() {
    let world = World::new().await;
    let nginx = world.nginx("nginx").await;
    let path = |name: &str| world.folder.path().join(name);
    let good = Stunnel::start(&path("good"), nginx.address(), None).await.unwrap();
    let other = Stunnel::start(&path("other"), nginx.address(), Some("other.example")).await.unwrap();
    let master = world.master(Settings::default()).await;
    let outputs = [
        Output { authority: Some(good.authority().to_owned()), ..Output::new("good", good.url()) },
        Output::new("unknown", good.url()),
        Output { authority: Some(other.authority().to_owned()), ..Output::new("other", other.url()) },
        Output { key: Some("sk_another"), ..Output::new("wrong-key", nginx.url()) },
    ];
    let mut agent = world.agent(&outputs).await;
    world.arrived(&nginx, 120, &agent).await;
    world.persisted(4_000, &agent).await;
    for (name, reason, words) in [
        ("unknown", "CertificateNotTrusted", ["rtmps://127.", "caBundleRef"]),
        ("other", "CertificateOfAnotherHost", ["rtmps://127.", "the host that the certificate names"]),
        ("wrong-key", "PublishRefused", ["rtmp://127.", "key"]),
    ] {
        let status =
            agent.wait_for(name, DEADLINE, |status| output(status, name)["state"] == "Failed").await.unwrap();
        let said = output(&status, name);
        assert_eq!(said["reason"], reason, "{said}");
        let message = said["message"].as_str().unwrap();
        for word in words {
            assert!(message.contains(word), "no {word:?} in {message:?}");
        }
    }
    let log = agent.log();
    let end = world.end(agent, &master).await;
    assert!(!log.contains("sk_another"), "{log}");
    assert_eq!(output(&end.status, "good")["state"], "Receiving", "{}", end.status);
    let received = broadcasts(&nginx);
    assert_eq!(received.len(), 1, "only the one that may");
    nothing_lost(&received[0].stored(&end.sent).unwrap(), &end.sent);
    decodes(&received[0]).await;
    nothing_lost(&world.stored().await, &end.sent);
}
