use super::apply;
use crate::ImageConfig;

fn changed(lines: &[&str]) -> ImageConfig {
    apply(&lines.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>(), ImageConfig::default()).unwrap()
}

#[test]
fn refusals_in_the_reference_engines_words() {
    for (line, message) in [
        ("FROM x", "from is not a valid change command"),
        ("foo", "foo is not a valid change command"),
        ("", "file with no instructions"),
        ("ENV", "ENV requires at least one argument"),
        ("ENV A", "ENV must have two arguments"),
        ("ENV A=1 B", "Syntax error - can't find = in \"B\". Must be of the form: name=value"),
        ("ENV =a", "ENV names can not be blank"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("EXPOSE x", "Invalid containerPort: x"),
        ("EXPOSE 70000", "Invalid containerPort: 70000"),
        ("LABEL a", "LABEL must have two arguments"),
        ("USER", "USER requires exactly one argument"),
        ("USER --u=1", "USER requires exactly one argument"),
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("VOLUME []", "VOLUME requires at least one argument"),
        ("VOLUME [\"\"]", "VOLUME specified can not be an empty string"),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("ONBUILD ONBUILD x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK --interval=1 CMD a", "time: missing unit in duration \"1\""),
        ("HEALTHCHECK --bogus=1 CMD a", "Unknown flag: bogus"),
        ("HEALTHCHECK FOO", "Unknown type \"FOO\" in HEALTHCHECK (try CMD)"),
        ("HEALTHCHECK --retries=-1 CMD a", "--retries must be at least 1 (not -1)"),
        ("HEALTHCHECK --interval=1us CMD a", "Interval \"interval\" cannot be less than 1ms"),
        ("CMD --x=1 a", "Unknown flag: x"),
        ("STOPSIGNAL nonsense", "Invalid signal: nonsense"),
        ("CMD [1]", "when using JSON array syntax, arrays must be comprised of strings only"),
    ] {
        let refused = apply(&[line.to_owned()], ImageConfig::default()).unwrap_err();
        assert_eq!((refused.message(), refused.kind()), (message, gantry_model::ErrorKind::InvalidArgument), "{line}");
    }
}

#[test]
fn commands() {
    let config = changed(&["CMD [\"a\", \"b c\"]"]);
    assert_eq!(config.cmd.unwrap(), ["a", "b c"]);
    let config = changed(&["cmd echo  hi", "ENTRYPOINT [\"/x\"]"]);
    assert_eq!(
        (config.cmd.unwrap(), config.entrypoint.unwrap()),
        (vec!["/bin/sh".into(), "-c".into(), "echo  hi".into()], vec!["/x".to_owned()])
    );
    let config = changed(&["SHELL [\"/bin/bash\", \"-ec\"]", "ENTRYPOINT run"]);
    assert_eq!(config.entrypoint.unwrap(), ["/bin/bash", "-ec", "run"]);
    assert_eq!(changed(&["CMD [\"broken\""]).cmd.unwrap()[2], "[\"broken\"");
}

#[test]
fn environment_and_labels() {
    let config = changed(&[
        "ENV A=1 B=\"two words\" C=three\\ words",
        "ENV A=2 D=$A-${B} E='$A'",
        "ENV F  all of it ",
        "ENV G=${NO:-none}${A:+some}",
        "LABEL a.b=\"x y\" c=$A",
        "# a comment",
        "WORKDIR /w/$A",
        "WORKDIR ../y",
        "USER me:$A",
    ]);
    assert_eq!(
        config.env,
        ["A=2", "B=two words", "C=three words", "D=1-two words", "E=$A", "F=all of it", "G=nonesome"]
    );
    assert_eq!(config.labels["a.b"], "x y");
    assert_eq!(config.labels["c"], "2");
    assert_eq!((config.working_dir.as_str(), config.user.as_str()), ("/w/y", "me:2"));
}

#[test]
fn the_rest() {
    let config = changed(&[
        "EXPOSE 80-82/tcp 53/udp \\\n  443",
        "VOLUME /a /b",
        "VOLUME [\"/c d\"]",
        "ONBUILD RUN make \\\n && true",
        "STOPSIGNAL SIGRTMIN+3",
        "HEALTHCHECK --interval=1m30s --retries=3 --timeout=1.5s CMD curl -f x",
    ]);
    let ports: Vec<_> = config.exposed_ports.keys().collect();
    assert_eq!(ports, ["443/tcp", "53/udp", "80/tcp", "81/tcp", "82/tcp"]);
    assert_eq!(config.volumes.keys().collect::<Vec<_>>(), ["/a", "/b", "/c d"]);
    assert_eq!(config.on_build, ["RUN make  && true"]);
    assert_eq!(config.stop_signal, "SIGRTMIN+3");
    let check = config.healthcheck.unwrap();
    assert_eq!(check.test, ["CMD-SHELL", "curl -f x"]);
    assert_eq!((check.interval, check.timeout, check.retries), (90_000_000_000, 1_500_000_000, 3));
}

#[test]
fn hostile_words_do_not_panic() {
    for line in [
        "ENV A=${",
        "ENV A=${B:",
        "ENV A='",
        "ENV A=\"",
        "ENV A=\\",
        "ENV A=$",
        "LABEL é=$é",
        "EXPOSE 5-2",
        "STOPSIGNAL RTMINé",
        "HEALTHCHECK --interval=9999999999999h CMD a",
        "HEALTHCHECK --interval=. CMD a",
        "--",
        "CMD --",
    ] {
        // Whether it is taken or refused does not matter here.
        drop(apply(&[line.to_owned()], ImageConfig::default()));
    }
}
