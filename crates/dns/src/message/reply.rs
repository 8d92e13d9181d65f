//! What other servers send.

use super::{HEADER, Rcode, flag};

/// What to do about something that came from where an answer is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It answers the question.
    Answer,
    /// The server says that it cannot, which another one might.
    Failure,
    /// It is not an answer to this question: late, or somebody's attempt to get one in.
    Alien,
}

/// Judges `reply` to the query `asked`, whose question ends at `question_end`.
pub(crate) fn judge(reply: &[u8], asked: &[u8], question_end: usize) -> Judgement {
    if reply.len() < HEADER || reply[..2] != asked[..2] || reply[2] & flag::RESPONSE == 0 {
        return Judgement::Alien;
    }
    let rcode = reply[3] & flag::RCODE;
    let failed = [Rcode::ServerFailure, Rcode::Refused].iter().any(|r| *r as u8 == rcode);
    let questions = u16::from_be_bytes([reply[4], reply[5]]);
    // Some servers that do not like a message give no question back.
    let bare = questions == 0 && rcode != Rcode::NoError as u8;
    let same = questions == 1 && same_question(reply.get(HEADER..question_end), &asked[HEADER..question_end]);
    match (same || bare, failed) {
        (false, _) => Judgement::Alien,
        (true, true) => Judgement::Failure,
        (true, false) => Judgement::Answer,
    }
}

/// Servers may change the case of a name, but nothing of its type and class.
fn same_question(reply: Option<&[u8]>, asked: &[u8]) -> bool {
    let (Some(reply), Some(at)) = (reply, asked.len().checked_sub(4)) else { return false };
    reply[..at].eq_ignore_ascii_case(&asked[..at]) && reply[at..] == asked[at..]
}

#[cfg(test)]
mod tests {
    use super::super::query::tests::query;
    use super::*;

    #[test]
    fn only_what_answers_the_question_counts() {
        let asked = query("web.example", 1, Some(1232));
        let end = asked.len() - 11;
        let judged = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut reply = asked.clone();
            reply[2] |= flag::RESPONSE;
            change(&mut reply);
            judge(&reply, &asked, end)
        };
        assert_eq!(judged(&|_| ()), Judgement::Answer);
        assert_eq!(judged(&|r| r[13] = b'W'), Judgement::Answer, "servers may change the case");
        assert_eq!(judged(&|r| r[3] = 3), Judgement::Answer, "a name that does not exist is an answer");
        assert_eq!(judged(&|r| r[3] = 2), Judgement::Failure);
        assert_eq!(judged(&|r| r[3] = 5), Judgement::Failure);
        assert_eq!(judged(&|r| r[0] ^= 1), Judgement::Alien, "another id");
        assert_eq!(judged(&|r| r[2] = 0), Judgement::Alien, "a query");
        assert_eq!(judged(&|r| r[14] = b'x'), Judgement::Alien, "another name");
        assert_eq!(judged(&|r| r[end - 3] = 28), Judgement::Alien, "another type");
        assert_eq!(judged(&|r| r.truncate(20)), Judgement::Alien);
        let bare = |rcode: u8| {
            judged(&|r| {
                r[3] = rcode;
                r[5] = 0;
                r.truncate(HEADER);
            })
        };
        assert_eq!(bare(1), Judgement::Answer, "of a server that does not know EDNS");
        assert_eq!(bare(5), Judgement::Failure);
        assert_eq!(bare(0), Judgement::Alien);
    }
}
