//! The eBPF program that decides about device access on cgroup v2.
//!
//! The last matching rule wins, so rules are tested from the last to the first. A rule that allows
//! must cover the whole request; a rule that denies applies if it touches any part of it (as v1 does).

use crate::spec::DeviceRule;
use gantry_linux::bpf::Instruction;

// Opcodes: class | source | operation (linux/bpf.h).
const LDX_W: u8 = 0x61;
const ALU_RSH_K: u8 = 0x74;
const ALU_AND_K: u8 = 0x54;
const ALU_MOV_X: u8 = 0xbc;
const MOV64_K: u8 = 0xb7;
const JEQ_K: u8 = 0x15;
const JNE_K: u8 = 0x55;
const EXIT: u8 = 0x95;

/// `BPF_DEVCG_DEV_BLOCK`, `BPF_DEVCG_DEV_CHAR`.
const BLOCK: i32 = 1;
const CHAR: i32 = 2;

/// Registers: the context, and where its parts are kept.
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

fn op(code: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> Instruction {
    u64::from(code)
        | u64::from(dst) << 8
        | u64::from(src) << 12
        | u64::from(offset as u16) << 16
        | u64::from(immediate as u32) << 32
}

fn verdict(program: &mut Vec<Instruction>, allow: bool) {
    program.push(op(MOV64_K, 0, 0, 0, i32::from(allow)));
    program.push(op(EXIT, 0, 0, 0, 0));
}

/// `m` is 1, `r` is 2, `w` is 4.
fn access_bits(access: &str) -> i32 {
    access.chars().fold(0, |bits, c| {
        bits | match c {
            'm' => 1,
            'r' => 2,
            'w' => 4,
            _ => 0,
        }
    })
}

/// The program for these rules; what no rule matches is denied.
pub(super) fn assemble(rules: &[DeviceRule]) -> Vec<Instruction> {
    // struct bpf_cgroup_dev_ctx { u32 access_type (access << 16 | kind), major, minor }
    let mut program = vec![
        op(LDX_W, KIND, CONTEXT, 0, 0),
        op(ALU_AND_K, KIND, 0, 0, 0xffff),
        op(LDX_W, ACCESS, CONTEXT, 0, 0),
        op(ALU_RSH_K, ACCESS, 0, 0, 16),
        op(LDX_W, MAJOR, CONTEXT, 4, 0),
        op(LDX_W, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let tests = tests_of(rule);
        // Each test jumps over the remaining ones and the two instructions of the verdict.
        let len = tests.len();
        for (n, test) in tests.into_iter().enumerate() {
            let over = (len - n - 1 + 2) as i16;
            program.push(match test {
                Test::Step(instruction) => instruction,
                Test::Skip { code, register, value } => op(code, register, 0, over, value),
            });
        }
        verdict(&mut program, rule.allow);
        if len == 0 {
            return program; // Nothing after a rule that always matches can be reached; the verifier insists.
        }
    }
    verdict(&mut program, false);
    program
}

enum Test {
    Step(Instruction),
    Skip { code: u8, register: u8, value: i32 },
}

fn tests_of(rule: &DeviceRule) -> Vec<Test> {
    let mut tests = Vec::new();
    let kind = match rule.kind {
        'b' => Some(BLOCK),
        'c' => Some(CHAR),
        _ => None,
    };
    let access = access_bits(&rule.access);
    if let Some(kind) = kind {
        tests.push(Test::Skip { code: JNE_K, register: KIND, value: kind });
    }
    if access != 7 {
        tests.push(Test::Step(op(ALU_MOV_X, SCRATCH, ACCESS, 0, 0)));
        if rule.allow {
            tests.push(Test::Step(op(ALU_AND_K, SCRATCH, 0, 0, !access & 7)));
            tests.push(Test::Skip { code: JNE_K, register: SCRATCH, value: 0 });
        } else {
            tests.push(Test::Step(op(ALU_AND_K, SCRATCH, 0, 0, access)));
            tests.push(Test::Skip { code: JEQ_K, register: SCRATCH, value: 0 });
        }
    }
    for (number, register) in [(rule.major, MAJOR), (rule.minor, MINOR)] {
        if let Some(number) = number {
            tests.push(Test::Skip { code: JNE_K, register, value: number as i32 });
        }
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(allow: bool, kind: char, major: Option<u32>, minor: Option<u32>, access: &str) -> DeviceRule {
        DeviceRule { allow, kind, major, minor, access: access.into() }
    }

    /// Runs the few instructions that the assembler emits.
    fn run(program: &[Instruction], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0u64; 11];
        let mut pc = 0usize;
        loop {
            let i = program[pc];
            let (code, dst, src) = (i as u8, (i >> 8 & 0xf) as usize, (i >> 12 & 0xf) as usize);
            let (offset, immediate) = ((i >> 16) as i16, (i >> 32) as u32);
            pc += 1;
            let mut jump_if = |taken: bool| {
                if taken {
                    pc = pc.wrapping_add_signed(offset.into());
                }
            };
            match code {
                LDX_W => registers[dst] = context[offset as usize / 4].into(),
                ALU_RSH_K => registers[dst] = u64::from(registers[dst] as u32 >> immediate),
                ALU_AND_K => registers[dst] = u64::from(registers[dst] as u32 & immediate),
                ALU_MOV_X => registers[dst] = u64::from(registers[src] as u32),
                MOV64_K => registers[dst] = immediate.into(),
                JEQ_K => jump_if(registers[dst] == u64::from(immediate)),
                JNE_K => jump_if(registers[dst] != u64::from(immediate)),
                EXIT => return registers[0] != 0,
                other => panic!("opcode {other:#x}"),
            }
        }
    }

    /// What the rules mean, said directly.
    fn meaning(rules: &[DeviceRule], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let letter = if kind == 1 { 'b' } else { 'c' };
        let matches = |r: &&DeviceRule| {
            let bits = access_bits(&r.access) as u32;
            (r.kind == 'a' || r.kind == letter)
                && r.major.is_none_or(|m| m == major)
                && r.minor.is_none_or(|m| m == minor)
                && if r.allow { access & !bits == 0 } else { access & bits != 0 || bits == 7 }
        };
        rules.iter().rev().find(matches).is_some_and(|r| r.allow)
    }

    #[test]
    fn the_program_decides_as_the_rules_mean() {
        let docker = vec![
            rule(false, 'a', None, None, "rwm"),
            rule(true, 'c', None, None, "m"),
            rule(true, 'b', None, None, "m"),
            rule(true, 'c', Some(1), Some(3), "rwm"),
            rule(true, 'c', Some(5), Some(0), "rw"),
            rule(true, 'c', Some(136), None, "rwm"),
            rule(false, 'c', Some(10), Some(229), "w"),
        ];
        let privileged = vec![rule(true, 'a', None, None, "rwm")];
        for rules in [docker, privileged, vec![]] {
            let program = assemble(&rules);
            for kind in [1, 2] {
                for access in 1..8 {
                    for (major, minor) in [(1, 3), (1, 5), (5, 0), (136, 9), (10, 229), (8, 0)] {
                        assert_eq!(
                            run(&program, kind, access, major, minor),
                            meaning(&rules, kind, access, major, minor),
                            "{kind} {access} {major}:{minor}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn the_kernel_accepts_it() {
        let rules = [rule(false, 'a', None, None, "rwm"), rule(true, 'c', Some(1), Some(3), "rw")];
        match gantry_linux::bpf::load_device_program(&assemble(&rules)) {
            Ok(_) => {}
            // No CAP_BPF, or a kernel without CONFIG_CGROUP_BPF.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {}
            Err(e) => panic!("{e}"),
        }
    }
}
