//! The same users in a cluster: they find their way in it with what they may, and nothing is refused.

use oncue::broker::redis::acl::{DEFAULT_OFF, Password, Role, Scope, user_line};
use oncue::broker::redis::{Options, RedisBroker, deploy};
use oncue::broker::{Broker, Inspect};

use super::users::NAMESPACE;
use crate::fixture::*;
use crate::redis_servers::cluster::Cluster;
use crate::redis_servers::setup::Setup;

#[test]
fn roles_do_their_work_in_a_cluster() {
    let scope = Scope::new(NAMESPACE, ["*"]).expect("a scope");
    let password = Password::generate().expect("a password");
    let line = |role: Role| {
        user_line(role.as_str(), std::slice::from_ref(&password), &[role], &scope).expect("a line")
    };
    let lines = [DEFAULT_OFF.to_owned()].into_iter().chain(Role::ALL.map(line));
    let acl = lines.collect::<Vec<_>>().join("\n");
    let cluster = Cluster::with(&Setup::default().acl(&acl));
    let options = |role: Role| {
        let login = format!("redis+cluster://{role}:{}@", password.reveal());
        let url = cluster.url().replace("redis+cluster://", &login);
        Options::parse(&url).expect("a URL").namespace(NAMESPACE)
    };
    run(deploy(options(Role::Deployer))).expect("deployed");
    let open = |role| RedisBroker::open(options(role)).expect("a broker");
    let [producer, worker, viewer] = [Role::Producer, Role::Worker, Role::Viewer].map(open);
    let mut bench =
        Bench::new(&|_| Opened { broker: std::sync::Arc::new(worker.clone()), guard: None });
    // Queues on every node.
    for name in ["a", "b", "c", "d", "e", "f"] {
        bench.queue = queue(name);
        run(producer.enqueue(bench.batch(tasks(2)))).expect("stored");
        let (session, claims) = bench.take_all();
        assert_eq!(claims.len(), 2, "{name}");
        assert_eq!(bench.beat(&[&session]), []);
        bench.end(&session, &claims[0], complete());
        run(worker.advance(bench.queue.clone(), 1)).expect("advanced");
        run(worker.reclaim(bench.sweep(&bench.session()))).expect("swept");
        let shown = run(viewer.show(bench.queue.clone(), claims[1].id())).expect("shown");
        assert!(shown.is_some(), "{name}");
    }
    assert_eq!(run(viewer.stats()).expect("counted").len(), 6);
    for node in &cluster.nodes {
        let log: Vec<redis::Value> = node.ask(&["ACL", "LOG"]);
        assert_eq!(log.len(), 0, "{log:?}");
    }
}
