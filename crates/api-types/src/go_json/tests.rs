use crate::{ContainerCreateRequest, ExecCreateRequest, ExecStartRequest, HostConfig};

fn create(body: &str) -> Result<ContainerCreateRequest, String> {
    ContainerCreateRequest::from_json(body.as_bytes()).map_err(|e| e.to_string())
}

#[test]
fn keys_match_without_case_and_null_is_zero() {
    let request = create(
        r#"{"image":"a","IMAGE":"b","Cmd":"true","env":["A=1",null],"Labels":{"K":"v"},"hostconfig":
           {"memory":5,"BINDS":null,"restartPolicy":{"NAME":"always"},"portBindings":{"80/tcp":null},
            "consoleSize":[1],"Unknown":[{}]},"Tty":null}"#,
    )
    .unwrap();
    let config = request.config.unwrap();
    assert_eq!(config.image, "b");
    assert_eq!(config.cmd, Some(vec!["true".into()]));
    assert_eq!(config.env, Some(vec!["A=1".into(), String::new()]));
    assert_eq!(config.labels.unwrap()["K"], "v");
    let host = request.host_config;
    assert_eq!((host.memory, host.binds, host.console_size), (5, None, [1, 0]));
    assert_eq!(host.restart_policy.name, "always");
    assert_eq!(host.port_bindings.unwrap()["80/tcp"], None);
}

#[test]
fn bytes_after_the_value_are_ignored() {
    assert_eq!(create(r#"{"Image": "nginx"}-X"#).unwrap().config.unwrap().image, "nginx");
}

#[test]
fn null_is_no_configuration() {
    assert_eq!(create("null").unwrap().config, None);
}

/// Bodies and the answers that dockerd 20.10 (Go 1.19) gave to them.
#[test]
fn refuses_in_the_words_of_go() {
    for (body, message) in [
        ("", "EOF"),
        (r#"{"Image":"x""#, "unexpected EOF"),
        ("xx", "invalid character 'x' looking for beginning of value"),
        ("[{]", "invalid character ']' looking for beginning of object key string"),
        (r#"{"a" 1}"#, "invalid character '1' after object key"),
        (r#"{"a":1 "b"}"#, "invalid character '\"' after object key:value pair"),
        ("[1 2]", "invalid character '2' after array element"),
        ("nul!", "invalid character '!' in literal null (expecting 'l')"),
        ("\"a\nb\"", "invalid character '\\n' in string literal"),
        (
            r#"{"Image":1}"#,
            "json: cannot unmarshal number into Go struct field ContainerConfigWrapper.Image of type string",
        ),
        (
            r#"{"HostConfig":{"Memory":"a"}}"#,
            "json: cannot unmarshal string into Go struct field HostConfig.HostConfig.Memory of type int64",
        ),
        (
            r#"{"HostConfig":{"Memory":1.5}}"#,
            "json: cannot unmarshal number 1.5 into Go struct field HostConfig.HostConfig.Memory of type int64",
        ),
        (
            r#"{"HostConfig":{"BlkioWeight":70000}}"#,
            "json: cannot unmarshal number 70000 into Go struct field HostConfig.HostConfig.BlkioWeight of type uint16",
        ),
        (
            r#"{"HostConfig":{"Binds":"a"}}"#,
            "json: cannot unmarshal string into Go struct field HostConfig.HostConfig.Binds of type []string",
        ),
        (
            r#"{"HostConfig":{"RestartPolicy":{"Name":2}}}"#,
            "json: cannot unmarshal number into Go struct field RestartPolicy.HostConfig.RestartPolicy.Name of type string",
        ),
        (
            r#"{"HostConfig":{"RestartPolicy":[1]}}"#,
            "json: cannot unmarshal array into Go struct field HostConfig.HostConfig.RestartPolicy of type container.RestartPolicy",
        ),
        (
            r#"{"Env":[1]}"#,
            "json: cannot unmarshal number into Go struct field ContainerConfigWrapper.Env of type string",
        ),
        (
            r#"{"Cmd":1}"#,
            "json: cannot unmarshal number into Go struct field ContainerConfigWrapper.Cmd of type string",
        ),
        (
            r#"{"Labels":{"a":1}}"#,
            "json: cannot unmarshal number into Go struct field ContainerConfigWrapper.Labels of type string",
        ),
    ] {
        assert_eq!(create(body), Err(message.to_owned()), "{body}");
    }
}

#[test]
fn depth_is_limited() {
    assert_eq!(create(&"[".repeat(100_000)), Err("exceeded max depth".into()));
    assert_eq!(create(&"{\"a\":".repeat(100_000)), Err("exceeded max depth".into()));
}

#[test]
fn strings_as_go_reads_them() {
    let read = |text: &[u8]| super::from_slice::<String>(text).unwrap().unwrap();
    assert_eq!(read(br#""\u00e9\n\/\ud83d\ude00""#), "\u{e9}\n/\u{1f600}");
    assert_eq!(read(br#""\ud83dx\ud83d\u0041""#), "\u{fffd}x\u{fffd}A");
    assert_eq!(read(b"\"a\xffb\""), "a\u{fffd}b");
}

#[test]
fn round_trip_through_plain_serde() {
    let host = create(r#"{"HostConfig":{"Binds":["/a:/b"],"Init":true,"Ulimits":[{"Name":"nofile","Soft":1}]}}"#)
        .unwrap()
        .host_config;
    let text = serde_json::to_string(&host).unwrap();
    assert_eq!(serde_json::from_str::<HostConfig>(&text).unwrap(), host);
}

#[test]
fn other_bodies() {
    let exec = super::from_slice::<ExecCreateRequest>(br#"{"cmd":["date"],"Tty":true}"#).unwrap().unwrap();
    assert_eq!(exec.cmd, Some(vec!["date".into()]));
    assert!(exec.tty);
    assert_eq!(super::from_slice::<ExecStartRequest>(b"null"), Ok(None));
}

/// Random mutations of a real body must neither panic nor run away. `GANTRY_FUZZ_ROUNDS` makes it longer.
#[test]
fn garbage_in() {
    let seed = br#"{"Image":"a\u00e9\ud83d\ude00","Env":["A=1",null],"HostConfig":{"Memory":-5e3,"ConsoleSize":[1,2],"Binds":[]},"x":[{},true]}"#;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let rounds = std::env::var("GANTRY_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    for _ in 0..rounds {
        let mut bytes = seed.to_vec();
        for _ in 0..=next() % 5 {
            let at = (next() % bytes.len() as u64) as usize;
            match next() % 4 {
                0 => bytes[at] = next() as u8,
                1 => bytes.insert(at, b"{}[]\",:\\n0"[(next() % 10) as usize]),
                2 => bytes.truncate(at.max(1)),
                _ => bytes.extend_from_within(at..),
            }
        }
        // Either answer is fine.
        drop(ContainerCreateRequest::from_json(&bytes));
    }
}
