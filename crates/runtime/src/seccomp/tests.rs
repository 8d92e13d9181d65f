//! The compiled programs, run by an interpreter, against what the profiles say.

use super::compile::{AND, Instruction, JA, JEQ, JGE, JGT, LD, RET, Treatment, compile, denies_by_errno, treatments};
use super::default;
use super::profile::{Condition, Host, Op, Profile, parse, ret};
use super::syscalls::{AUDIT_I386, AUDIT_X86_64, Abi, X32_BIT};
use crate::capabilities;

/// The kernel's machine, as far as seccomp programs use it.
fn run(program: &[Instruction], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let mut data = vec![number, arch, 0, 0];
    data.extend(args.iter().flat_map(|a| [*a as u32, (*a >> 32) as u32]));
    let (mut a, mut pc) = (0u32, 0usize);
    loop {
        let Instruction { code, jt, jf, k } = program[pc];
        pc += 1;
        let mut jump = |taken: bool| pc += usize::from(if taken { jt } else { jf });
        match code {
            LD => a = data[k as usize / 4],
            AND => a &= k,
            JA => pc += k as usize,
            JEQ => jump(a == k),
            JGT => jump(a > k),
            JGE => jump(a >= k),
            RET => return k,
            other => panic!("code {other:#x}"),
        }
    }
}

fn holds(c: &Condition, args: [u64; 6], narrow: bool) -> bool {
    let cut = |v: u64| if narrow { v & 0xffff_ffff } else { v };
    let (arg, value) = (cut(args[usize::from(c.index)]), cut(c.value));
    match c.op {
        Op::Ne => arg != value,
        Op::Lt => arg < value,
        Op::Le => arg <= value,
        Op::Eq => arg == value,
        Op::Ge => arg >= value,
        Op::Gt => arg > value,
        Op::MaskedEq => arg & value == cut(c.value_two) & value,
    }
}

/// What the profile means, said directly.
fn meaning(default: u32, treatment: &Treatment, is_new: bool, narrow: bool, args: [u64; 6]) -> u32 {
    if let Some(verdict) = treatment.always {
        return verdict;
    }
    let found = treatment.conditional.iter().find(|(all, _)| all.iter().all(|c| holds(c, args, narrow)));
    if let Some((_, verdict)) = found {
        return *verdict;
    }
    if is_new && denies_by_errno(default) { ret::ERRNO | libc::ENOSYS as u32 } else { default }
}

/// Values around everything that the profile compares with.
fn interesting(profile: &Profile) -> Vec<u64> {
    let mut values = vec![0, 1, 0xffff_ffff, 0x1_0000_0000, u64::MAX];
    for c in profile.rules.iter().flat_map(|r| &r.conditions) {
        for v in [c.value, c.value_two, c.value & c.value_two] {
            values.extend([v, v.wrapping_add(1), v.wrapping_sub(1), v | 1 << 40, v ^ 0x8000_0000]);
        }
    }
    values.sort_unstable();
    values.dedup();
    values
}

fn compare(profile: &Profile) {
    let program = compile(profile);
    let values = interesting(profile);
    for abi in &profile.abis {
        let (arch, offset) = match abi {
            Abi::X86_64 => (AUDIT_X86_64, 0),
            Abi::X86 => (AUDIT_I386, 0),
            Abi::X32 => (AUDIT_X86_64, X32_BIT),
        };
        let (calls, last) = treatments(profile, *abi);
        for number in (0..600).chain([0x3fff_ffff]).map(|n| n + offset) {
            let treatment = calls.get(&number).cloned().unwrap_or_default();
            let is_new = last.is_some_and(|last| number > last);
            let tried: &[u64] = if treatment.conditional.is_empty() { &[0] } else { &values };
            for &value in tried {
                for args in [[value; 6], [value, 0, value, 7, 0, 1], [5, value, 0, value, value, value]] {
                    let (is, should) = (
                        run(&program, arch, number, args),
                        meaning(profile.default, &treatment, is_new, abi.narrow(), args),
                    );
                    assert_eq!(is, should, "{abi:?} call {number} {args:x?}");
                }
            }
        }
    }
}

fn host(capabilities: u64) -> Host {
    Host { capabilities, kernel: (6, 1) }
}

#[test]
fn the_default_profile_is_compiled_faithfully() {
    for set in [0, capabilities::DEFAULT, capabilities::SYS_ADMIN, capabilities::ALL] {
        compare(&default::profile(&host(set)));
    }
}

#[test]
fn every_comparison_is_compiled_faithfully() {
    for op in ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"] {
        for value in ["5", "8589934597", "18446744073709551615"] {
            let json = format!(
                r#"{{"defaultAction":"SCMP_ACT_KILL_PROCESS","architectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"],"syscalls":[
                {{"name":"read","action":"SCMP_ACT_ALLOW","args":[{{"index":0,"value":{value},"valueTwo":4,"op":"SCMP_CMP_{op}"}}]}},
                {{"names":["write","no_such"],"action":"SCMP_ACT_LOG","args":[{{"index":1,"value":{value},"op":"SCMP_CMP_{op}"}},
                  {{"index":4,"value":3,"op":"SCMP_CMP_GT"}}]}},
                {{"names":["open"],"action":"SCMP_ACT_TRAP","args":[{{"index":2,"value":{value},"op":"SCMP_CMP_{op}"}},
                  {{"index":2,"value":9,"op":"SCMP_CMP_EQ"}}]}},
                {{"names":["socket","semop"],"action":"SCMP_ACT_ERRNO","errnoRet":99}}]}}"#
            );
            compare(&parse(&json, &host(0)).unwrap().unwrap());
        }
    }
}

#[test]
fn foreign_architectures_are_killed() {
    let json = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[]}"#;
    let program = compile(&parse(json, &host(0)).unwrap().unwrap());
    assert_eq!(run(&program, AUDIT_X86_64, 1, [0; 6]), ret::ALLOW);
    assert_eq!(run(&program, AUDIT_X86_64, X32_BIT, [0; 6]), ret::KILL_THREAD);
    assert_eq!(run(&program, AUDIT_I386, 1, [0; 6]), ret::KILL_THREAD);
    assert_eq!(run(&program, 0xc000_00b7, 1, [0; 6]), ret::KILL_THREAD);
}

#[test]
fn the_default_profile_knows_its_cases() {
    let number = |name: &str| Abi::X86_64.number(name).unwrap();
    let verdict = |set: u64, name: &str, first: u64| {
        run(&compile(&default::profile(&host(set))), AUDIT_X86_64, number(name), [first, 0, 0, 0, 0, 0])
    };
    let (eperm, enosys) = (ret::ERRNO | libc::EPERM as u32, ret::ERRNO | libc::ENOSYS as u32);
    let docker = capabilities::DEFAULT;
    assert_eq!(verdict(docker, "read", 0), ret::ALLOW);
    assert_eq!(verdict(docker, "mount", 0), eperm);
    assert_eq!(verdict(docker, "keyctl", 0), eperm);
    assert_eq!(verdict(docker, "io_uring_setup", 0), eperm);
    assert_eq!(verdict(docker, "clone3", 0), enosys);
    assert_eq!(verdict(docker, "clone", libc::CLONE_NEWUSER as u64), eperm);
    assert_eq!(verdict(docker, "clone", libc::CLONE_VM as u64), ret::ALLOW);
    assert_eq!(verdict(docker, "socket", libc::AF_INET6 as u64), ret::ALLOW);
    assert_eq!(verdict(docker, "socket", libc::AF_VSOCK as u64), eperm);
    assert_eq!(verdict(docker, "socket", libc::AF_ALG as u64), eperm);
    assert_eq!(verdict(capabilities::ALL, "mount", 0), ret::ALLOW);
    assert_eq!(verdict(capabilities::ALL, "clone3", 0), ret::ALLOW);
    assert_eq!(verdict(capabilities::ALL, "kexec_load", 0), eperm);
    let program = compile(&default::profile(&host(docker)));
    assert_eq!(run(&program, AUDIT_X86_64, 467, [0; 6]), enosys, "newer than the profile");
}

#[test]
fn every_name_of_the_default_profile_is_known() {
    let profile = default::profile(&host(capabilities::ALL));
    let known = |name: &&String| {
        [Abi::X86_64, Abi::X86].iter().any(|abi| abi.number(name).is_some() || abi.multiplexed(name).is_some())
    };
    let unknown: Vec<_> = profile.rules.iter().flat_map(|r| &r.names).filter(|n| !known(n)).collect();
    // Names of other architectures that Docker's list carries along.
    assert_eq!(
        unknown,
        ["fadvise64_64", "utimensat_time64"].iter().filter(|n| !known(&&(**n).to_owned())).collect::<Vec<_>>()
    );
}

#[test]
fn a_program_is_small_and_kept() {
    let one = super::compile(None, capabilities::DEFAULT).unwrap();
    let two = super::compile(None, capabilities::DEFAULT).unwrap();
    assert!(std::sync::Arc::ptr_eq(&one, &two));
    assert!(one.len() / 8 < 1500, "{} instructions", one.len() / 8);
    assert!(super::compile(Some("{}"), 0).unwrap().is_empty());
}
