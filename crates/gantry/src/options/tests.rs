use super::*;
use serde_json::json;

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn given(line: &str) -> serde_json::Value {
    let given = parse(&words(line)).expect("a valid command line");
    given.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn reads_flags_in_every_spelling_of_pflag() {
    assert_eq!(
        given("-D -H unix:///a -Hunix:///b -H=tcp://c --host fd:// --host=tcp://d"),
        json!({
            "debug": true, "host": ["unix:///a", "unix:///b", "tcp://c", "fd://", "tcp://d"],
        })
    );
    assert_eq!(
        given("-Dl warn --iptables=false --mtu 1400"),
        json!({
            "debug": true, "log-level": "warn", "iptables": false, "mtu": 1400,
        })
    );
    assert_eq!(
        given("--log-opt max-size=10m --log-opt max-file=3 --default-ulimit nofile=1:2 --feature x"),
        json!({
            "log-opt": {"max-size": "10m", "max-file": "3"},
            "default-ulimit": {"nofile": {"Name": "nofile", "Soft": 1, "Hard": 2}},
            "feature": {"x": true},
        })
    );
    assert_eq!(
        given("--default-shm-size 1.5k --default-address-pool base=10.0.0.0/8,size=24"),
        json!({
            "default-shm-size": 1536, "default-address-pool": [{"base": "10.0.0.0/8", "size": 24}],
        })
    );
}

#[test]
fn refuses_what_pflag_refuses() {
    for (line, says) in [
        ("--nope", "unknown flag: --nope"),
        ("-Z", "unknown shorthand flag: 'Z' in -Z"),
        ("--mtu", "flag needs an argument: --mtu"),
        ("-H", "flag needs an argument: 'H' in -H"),
        ("--mtu x", "invalid argument \"x\" for \"--mtu\" flag"),
        ("--debug=maybe", "invalid argument \"maybe\" for \"-D, --debug\" flag"),
        ("--default-ulimit nofile=3:2", "less than or equal"),
        ("run", "takes no arguments"),
    ] {
        let error = parse(&words(line)).expect_err(line).to_string();
        assert!(error.contains(says), "{line}: {error}");
    }
}

#[test]
fn names_what_is_wrong_in_the_file() {
    for (text, says) in [
        (r#"{"hots": [], "debig": 1}"#, "don't match any configuration option: debig, hots"),
        (r#"{"proxies": {"ftp-proxy": "x"}}"#, "don't match any configuration option: ftp-proxy"),
        (r#"{"mtu": "1500"}"#, "mtu: expected a whole number, found the string \"1500\""),
        (r#"{"hosts": "unix:///x"}"#, "hosts: expected a list of strings"),
        (r#"{"log-opts": {"max-file": 3}}"#, "log-opts: expected an object with string values"),
        (r#"{"default-shm-size": "lots"}"#, "default-shm-size: invalid size"),
        (r#"{"ip": "nowhere"}"#, "ip: \"nowhere\" is not an IP address"),
        ("[]", "expected an object"),
        (r#"{"debug": true"#, "EOF while parsing"),
    ] {
        let error = file::check(text.as_bytes()).expect_err(text).to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn reads_files_as_dockerd_does() {
    let read = |text: &str| serde_json::Value::Object(file::check(text.as_bytes()).expect(text));
    assert_eq!(read(""), json!({}));
    assert_eq!(read("\u{feff}{\"debug\": true, \"mtu\": null}"), json!({"debug": true}));
    assert_eq!(
        read(r#"{"hosts": ["unix:///var/run/docker.sock"]}"#),
        json!({"hosts": ["unix:///var/run/docker.sock"]})
    );
    assert_eq!(read(r#"{"proxies": {"http-proxy": "http://p"}}"#), json!({"http-proxy": "http://p"}));
    assert_eq!(read(r#"{"default-shm-size": "1m"}"#), json!({"default-shm-size": 1_048_576}));
    assert_eq!(read(r#"{"builder": {"gc": {"enabled": true}}}"#), json!({}));
    let entitled = |value: &str| format!(r#"{{"builder": {{"entitlements": {{"security-insecure": {value}}}}}}}"#);
    assert_eq!(read(&entitled("true")), json!({"insecure-builds": true}));
    assert_eq!(read(&entitled("false")), json!({}));
    let wrong = file::check(entitled("1").as_bytes()).unwrap_err().to_string();
    assert!(wrong.contains("builder.entitlements.security-insecure: expected true or false"), "{wrong}");
}

#[test]
fn a_flag_and_the_file_may_not_both_speak() {
    let file =
        || file::check(br#"{"labels": ["a=b"], "http-proxy": "http://u:p@h:1", "runtimes": {"a": {"path": "/a"}}}"#);
    let conflict = |line: &str| merge(file().unwrap(), &parse(&words(line)).unwrap()).unwrap_err().to_string();
    assert_eq!(
        conflict("--label c=d"),
        "the following directives are specified both as a flag and in the configuration file: \
         labels: (from flag: [c=d], from file: [a=b])"
    );
    let masked = conflict("--http-proxy http://v:q@i:2");
    assert!(masked.contains("from flag: http://xxxxx:xxxxx@i:2, from file: http://xxxxx:xxxxx@h:1"), "{masked}");

    let merged = merge(file().unwrap(), &parse(&words("--add-runtime b=/b -D")).unwrap()).unwrap();
    assert_eq!(merged["runtimes"], json!({"a": {"path": "/a"}, "b": {"path": "/b"}}));
    assert_eq!(merged["debug"], json!(true));
}

#[test]
fn the_table_has_no_doubles() {
    for (i, a) in OPTIONS.iter().enumerate() {
        for b in &OPTIONS[i + 1..] {
            assert!(a.flag.is_empty() || a.flag != b.flag, "--{}", a.flag);
            assert!(a.key.is_empty() || a.key != b.key, "{}", a.key);
            assert!(a.short.is_none() || a.short != b.short, "-{:?}", a.short);
        }
    }
}

/// `dockerd --help` of 20.10, and what 23 to 29 added.
#[test]
fn every_flag_of_dockerd_is_known() {
    const DOCKERD: &str = "add-runtime allow-nondistributable-artifacts api-cors-header authorization-plugin bip bridge \
        cgroup-parent config-file containerd containerd-namespace containerd-plugins-namespace cpu-rt-period \
        cpu-rt-runtime cri-containerd data-root debug default-address-pool default-cgroupns-mode default-gateway \
        default-gateway-v6 default-ipc-mode default-runtime default-shm-size default-ulimit dns dns-opt dns-search \
        exec-opt exec-root experimental fixed-cidr fixed-cidr-v6 group host host-gateway-ip icc init init-path \
        insecure-registry ip ip-forward ip-masq ip6tables iptables ipv6 label live-restore log-driver log-level log-opt \
        max-concurrent-downloads max-concurrent-uploads max-download-attempts metrics-addr mtu \
        network-control-plane-mtu no-new-privileges node-generic-resource oom-score-adjust pidfile raw-logs \
        registry-mirror rootless seccomp-profile selinux-enabled shutdown-timeout storage-driver storage-opt \
        swarm-default-advertise-addr tls tlscacert tlscert tlskey tlsverify userland-proxy userland-proxy-path \
        userns-remap graph restart cluster-advertise cluster-store cluster-store-opt network-diagnostic-port validate \
        http-proxy https-proxy no-proxy cdi-spec-dir default-network-opt feature log-format allow-direct-routing \
        bridge-accept-fwmark bip6 firewall-backend ip-forward-no-drop nri-opts";
    for flag in DOCKERD.split_whitespace() {
        assert!(OPTIONS.iter().any(|opt| opt.flag == flag), "--{flag}");
    }
}
