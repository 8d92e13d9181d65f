//! From a profile to the kernel's classic BPF.
//!
//! For each ABI the call numbers are cut into ranges of equal treatment, which a balanced tree of
//! comparisons finds: some seven instructions for any call, where a list takes hundreds.

use super::profile::{Condition, Op, Profile, Rule, ret};
use super::syscalls::{AUDIT_I386, AUDIT_X86_64, Abi, X32_BIT};
use std::collections::BTreeMap;

/// `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) jt: u8,
    pub(super) jf: u8,
    pub(super) k: u32,
}

pub(super) const LD: u16 = 0x20;
pub(super) const AND: u16 = 0x54;
pub(super) const JA: u16 = 0x05;
pub(super) const JEQ: u16 = 0x15;
pub(super) const JGT: u16 = 0x25;
pub(super) const JGE: u16 = 0x35;
pub(super) const RET: u16 = 0x06;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

fn op(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

fn ret(verdict: u32) -> Vec<Instruction> {
    vec![op(RET, 0, 0, verdict)]
}

/// What happens to a call: the first of these whose conditions hold decides, then the default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Treatment {
    pub(super) conditional: Vec<(Vec<Condition>, u32)>,
    pub(super) always: Option<u32>,
}

/// The treatment of every call number that an ABI's part of the profile speaks about, and the
/// largest number it knows.
pub(super) fn treatments(profile: &Profile, abi: Abi) -> (BTreeMap<u32, Treatment>, Option<u32>) {
    let mut calls: BTreeMap<u32, Treatment> = BTreeMap::new();
    let mut last = None;
    for rule in &profile.rules {
        for name in &rule.names {
            // A name that this program does not know is one of another architecture.
            let Some(number) = abi.number(name) else {
                add_multiplexed(&mut calls, abi, name, rule, profile.default);
                continue;
            };
            last = last.max(Some(number));
            if rule.verdict != profile.default {
                add(calls.entry(number).or_default(), rule);
            }
            add_multiplexed(&mut calls, abi, name, rule, profile.default);
        }
    }
    (calls, last)
}

fn add(treatment: &mut Treatment, rule: &Rule) {
    if rule.conditions.is_empty() {
        treatment.always.get_or_insert(rule.verdict);
        return;
    }
    // As runc: several conditions on one argument are alternatives, otherwise all must hold.
    let mut indexes: Vec<u8> = rule.conditions.iter().map(|c| c.index).collect();
    indexes.sort_unstable();
    if indexes.windows(2).any(|w| w[0] == w[1]) {
        treatment.conditional.extend(rule.conditions.iter().map(|c| (vec![*c], rule.verdict)));
    } else {
        treatment.conditional.push((rule.conditions.clone(), rule.verdict));
    }
}

/// A call without conditions on its arguments is the same through its multiplexer. (With conditions
/// it cannot be checked there: the arguments are behind a pointer.)
fn add_multiplexed(calls: &mut BTreeMap<u32, Treatment>, abi: Abi, name: &str, rule: &Rule, default: u32) {
    let Some((number, first)) = abi.multiplexed(name) else { return };
    if rule.conditions.is_empty() && rule.verdict != default {
        let condition = Condition { index: 0, value: first.into(), value_two: 0, op: Op::Eq };
        calls.entry(number).or_default().conditional.push((vec![condition], rule.verdict));
    }
}

/// The program for a profile.
pub(super) fn compile(profile: &Profile) -> Vec<Instruction> {
    let body = |abi: Abi| abi_program(profile, abi);
    let native = {
        let mut program = vec![op(LD, 0, 0, NUMBER)];
        let x32 = if profile.abis.contains(&Abi::X32) { body(Abi::X32) } else { ret(ret::KILL_THREAD) };
        program.extend(branch(JGE, X32_BIT, body(Abi::X86_64), x32));
        program
    };
    let x86 = if profile.abis.contains(&Abi::X86) {
        let mut program = vec![op(LD, 0, 0, NUMBER)];
        program.extend(body(Abi::X86));
        branch(JEQ, AUDIT_I386, ret(ret::KILL_THREAD), program)
    } else {
        ret(ret::KILL_THREAD)
    };
    let mut program = vec![op(LD, 0, 0, ARCH)];
    program.extend(branch(JEQ, AUDIT_X86_64, x86, native));
    program
}

/// Jumps to `yes` if the test holds. `no` follows directly; a far `yes` is reached by a long jump.
fn branch(code: u16, k: u32, no: Vec<Instruction>, yes: Vec<Instruction>) -> Vec<Instruction> {
    let mut program = match u8::try_from(no.len()) {
        Ok(near) => vec![op(code, near, 0, k)],
        Err(_) => vec![op(code, 0, 1, k), op(JA, 0, 0, no.len() as u32)],
    };
    program.extend(no);
    program.extend(yes);
    program
}

/// Decides by the call's number, which is loaded.
fn abi_program(profile: &Profile, abi: Abi) -> Vec<Instruction> {
    let (calls, last) = treatments(profile, abi);
    let plain = Treatment { conditional: Vec::new(), always: Some(profile.default) };
    // Ranges that begin at these numbers.
    let mut ranges: Vec<(u32, Treatment)> = vec![(0, plain.clone())];
    let mut begin = |number: u32, treatment: Treatment| {
        // A range that would be empty, and one that only continues the one before, are none.
        ranges.pop_if(|(at, _)| *at == number);
        if ranges.last().is_none_or(|(_, last)| *last != treatment) {
            ranges.push((number, treatment));
        }
    };
    for (number, mut treatment) in calls {
        if treatment.always.is_some() {
            treatment.conditional.clear(); // The broader rule wins, as in libseccomp.
        } else {
            treatment.always = Some(profile.default);
        }
        begin(number, treatment);
        begin(number + 1, plain.clone());
    }
    if let (Some(last), true) = (last, denies_by_errno(profile.default)) {
        // Newer than the profile: a program that tries such a call must hear that it does not
        // exist, not that it is forbidden (runc does this since 1.0.0-rc93).
        begin(last + 1, Treatment { conditional: Vec::new(), always: Some(ret::ERRNO | libc::ENOSYS as u32) });
    }
    tree(&ranges, abi)
}

pub(super) fn denies_by_errno(default: u32) -> bool {
    default & 0xffff_0000 == ret::ERRNO && default != ret::ERRNO | libc::ENOSYS as u32
}

fn tree(ranges: &[(u32, Treatment)], abi: Abi) -> Vec<Instruction> {
    match ranges {
        [] => Vec::new(),
        [(_, treatment)] => leaf(treatment, abi),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            branch(JGE, high[0].0, tree(low, abi), tree(high, abi))
        }
    }
}

fn leaf(treatment: &Treatment, abi: Abi) -> Vec<Instruction> {
    let mut program = Vec::new();
    for (conditions, verdict) in &treatment.conditional {
        let tests: Vec<Test> = conditions.iter().flat_map(|c| tests(*c, abi.narrow())).collect();
        let len = tests.len();
        // Past the remaining tests and the verdict.
        let fail = |at: usize| (len - at) as u8;
        program.extend(tests.into_iter().enumerate().map(|(at, test)| match test {
            Test::Step(instruction) => instruction,
            Test::Jump { code, k, yes, no } => op(code, yes.offset(fail(at)), no.offset(fail(at)), k),
        }));
        program.extend(ret(*verdict));
    }
    // Every treatment has got a verdict for the rest by now.
    program.extend(ret(treatment.always.unwrap_or(ret::KILL_THREAD)));
    program
}

enum Test {
    Step(Instruction),
    Jump { code: u16, k: u32, yes: To, no: To },
}

/// Where a test's outcome leads: so many instructions on, or to the next rule.
#[derive(Clone, Copy)]
enum To {
    Over(u8),
    Fail,
}

impl To {
    fn offset(self, fail: u8) -> u8 {
        match self {
            Self::Over(n) => n,
            Self::Fail => fail,
        }
    }
}

/// The tests for one condition. The machine compares 32 bits at a time: the high half first.
fn tests(condition: Condition, narrow: bool) -> Vec<Test> {
    use To::{Fail, Over};
    let Condition { index, value, value_two, op: compare } = condition;
    let load = |half: u32| Test::Step(op(LD, 0, 0, ARGS + 8 * u32::from(index) + 4 * half));
    let and = |mask: u32| Test::Step(op(AND, 0, 0, mask));
    let jump = |code, k, yes, no| Test::Jump { code, k, yes, no };
    let (high, low) = ((value >> 32) as u32, value as u32);
    let mut tests = Vec::new();
    if compare == Op::MaskedEq {
        let wanted = value & value_two;
        if !narrow {
            tests.extend([load(1), and(high), jump(JEQ, (wanted >> 32) as u32, Over(0), Fail)]);
        }
        tests.extend([load(0), and(low), jump(JEQ, wanted as u32, Over(0), Fail)]);
        return tests;
    }
    if !narrow {
        tests.push(load(1));
        match compare {
            Op::Eq | Op::MaskedEq => tests.push(jump(JEQ, high, Over(0), Fail)),
            Op::Ne => tests.push(jump(JEQ, high, Over(0), Over(2))),
            Op::Gt | Op::Ge => tests.extend([jump(JGT, high, Over(3), Over(0)), jump(JEQ, high, Over(0), Fail)]),
            Op::Lt | Op::Le => tests.extend([jump(JGT, high, Fail, Over(0)), jump(JEQ, high, Over(0), Over(2))]),
        }
    }
    tests.push(load(0));
    tests.push(match compare {
        Op::Eq | Op::MaskedEq => jump(JEQ, low, Over(0), Fail),
        Op::Ne => jump(JEQ, low, Fail, Over(0)),
        Op::Gt => jump(JGT, low, Over(0), Fail),
        Op::Ge => jump(JGE, low, Over(0), Fail),
        Op::Lt => jump(JGE, low, Fail, Over(0)),
        Op::Le => jump(JGT, low, Fail, Over(0)),
    });
    tests
}
