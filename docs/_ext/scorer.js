// How the search ranks what it finds: first sections whose title has the words, then pages that
// teach, then the reference, and last the lists of everything.
const LISTS = /^(changelog|comparison|deviations|examples|glossary|names|performance|reliability)$/;
var Scorer = {
  score: ([page, , , , score, , kind]) => {
    if (kind === "title") return score + 30;
    if (LISTS.test(page)) return score - 10;
    return /^(guide|howto|porting)/.test(page) ? score + 3 : score;
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: {0: 15, 1: 5, 2: -5},
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
