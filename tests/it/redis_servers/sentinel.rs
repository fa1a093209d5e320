//! A primary, a replica and three Sentinels that watch over them, with patience of half a second.

use super::server::Server;
use super::setup::Setup;
use super::until;

/// How the Sentinels call the primary.
pub const NAME: &str = "mymaster";

/// How long each Sentinel waits for a sign of life. Three that find the primary dead at once each vote for
/// themselves, and try again much later; of two the vote of the third makes one the leader.
const DOWN_AFTER_MS: [u16; 3] = [500, 500, 2_000];

/// The deployment. All of it ends with its value.
pub struct Sentinels {
    /// The servers, of which one is the primary at a time; the first one is at the beginning.
    pub servers: [Server; 2],
    /// Those who say which.
    pub sentinels: [Server; 3],
}

impl Sentinels {
    /// Starts all five and waits until each Sentinel knows all others and the replica, which is in step.
    #[track_caller]
    pub fn start() -> Self {
        Self::with(&Setup::default())
    }

    /// The same with two servers that are set up like this.
    #[track_caller]
    pub fn with(setup: &Setup) -> Self {
        let servers = setup.clone().tcp().line("repl-diskless-sync-delay 0");
        let primary = servers.clone().start();
        let at = format!("127.0.0.1 {}", primary.port());
        let replica = servers.line(&format!("replicaof {at}")).start();
        until("the replica to be in step", || {
            replica.info("master_link_status").filter(|status| status == "up")
        });
        let sentinel = setup
            .sentinel()
            .line(&format!("sentinel monitor {NAME} {at} 2"))
            .line(&format!("sentinel failover-timeout {NAME} 2000"));
        let sentinels = DOWN_AFTER_MS.map(|time| {
            let line = format!("sentinel down-after-milliseconds {NAME} {time}");
            sentinel.clone().line(&line).start()
        });
        for sentinel in &sentinels {
            // They find each other and the replica by asking; by default they ask once in ten seconds.
            sentinel.cli(&["SENTINEL", "DEBUG", "info-period", "200", "publish-period", "100"]);
            // What a leader knows of a replica is good for five pings; it asks once a second, and finds none good
            // to take over if that is too rare.
            sentinel.cli(&["SENTINEL", "DEBUG", "ping-period", "400", "ask-period", "100"]);
        }
        let all = Self { servers: [primary, replica], sentinels };
        all.settle();
        for sentinel in &all.sentinels {
            // A Sentinel that sees a promoted replica has four of these to hear of the failover, or undoes it;
            // who leads the failover asks the replica once a second.
            sentinel.cli(&["SENTINEL", "DEBUG", "publish-period", "500"]);
        }
        all
    }

    /// Waits until every Sentinel names the same primary, which is one, and sees a replica of it that can take
    /// over, and both its peers.
    #[track_caller]
    pub fn settle(&self) {
        for sentinel in &self.sentinels {
            until("a Sentinel to know all", || {
                let word = |name: &str| {
                    let all: Vec<String> = sentinel.ask(&["SENTINEL", "MASTER", NAME]);
                    let at = all.iter().position(|word| word == name)?;
                    all.get(at + 1).cloned()
                };
                let known = ["flags", "num-slaves", "num-other-sentinels"].map(word);
                let known = known.map(Option::unwrap_or_default);
                let replicas: Vec<Vec<String>> = sentinel.ask(&["SENTINEL", "REPLICAS", NAME]);
                let ready = |replica: &Vec<String>| {
                    let has = |pair: [&str; 2]| replica.windows(2).any(|words| words == pair);
                    has(["flags", "slave"]) && has(["master-link-status", "ok"])
                };
                (known == ["master", "1", "2"] && replicas.iter().all(ready)).then_some(())
            });
        }
        let primary = self.primary();
        until("the primary to be one", || {
            (self.servers[primary].info("role")? == "master").then_some(())
        });
    }

    /// Names the Sentinels: `redis+sentinel://host:port,host:port,host:port/mymaster/0`; `rediss` with TLS.
    pub fn url(&self) -> String {
        let all = self.sentinels.each_ref().map(Server::address);
        format!("{}+sentinel://{}/{NAME}/0", self.servers[0].scheme(), all.join(","))
    }

    /// Which server the Sentinels call the primary now; waits until they agree.
    #[track_caller]
    pub fn primary(&self) -> usize {
        until("the Sentinels to agree", || {
            let named = self.sentinels.each_ref().map(|sentinel| {
                let [_host, port]: [String; 2] =
                    sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
                port
            });
            let same = named.iter().all(|port| *port == named[0]);
            let is_it = |server: &Server| server.port().to_string() == named[0];
            self.servers.iter().position(is_it).filter(|_| same)
        })
    }

    /// Has the roles changed, with both servers alive, and waits until it is done. Answers the new primary.
    #[track_caller]
    pub fn fail_over(&self) -> usize {
        let before = self.primary();
        until("a failover to be begun", || {
            // Refused while the last one is not long over.
            self.sentinels[0].try_cli(&["SENTINEL", "FAILOVER", NAME]).ok()
        });
        let after = self.await_other_than(before);
        self.settle();
        after
    }

    /// Kills the primary with SIGKILL and waits until the other server is one. Answers it. The dead one is a
    /// replica after `restart` and `settle`.
    #[track_caller]
    pub fn kill_primary(&mut self) -> usize {
        let before = self.primary();
        self.servers[before].kill9();
        self.await_other_than(before)
    }

    /// Waits until the Sentinels agree on another server, and that one on being the primary.
    #[track_caller]
    pub fn await_other_than(&self, before: usize) -> usize {
        let after = until("another primary", || Some(self.primary()).filter(|now| *now != before));
        until("it to take over", || (self.servers[after].info("role")? == "master").then_some(()));
        after
    }
}
