package store

import (
	"bytes"
	"fmt"
	"strings"
)

// readerWords are the statements the user reader may begin.
var readerWords = map[string]bool{"SELECT": true, "WITH": true, "FROM": true, "SHOW": true, "DESCRIBE": true, "DESC": true, "EXISTS": true, "EXPLAIN": true}

// alwaysForbidden are names that the user reader may not say at all. The scalar
// function file reads any file of the machine even with readonly=1;
// catboostEvaluate loads one; log_comment is how we find a query to cancel it.
var alwaysForbidden = []string{"file", "catboostevaluate", "log_comment"}

// readerRules knows which names the user reader may not use. readonly=1 of the
// engine is the first lock; these are for what it leaves open: functions that
// reach outside the data directory, and DESCRIBE of table functions.
type readerRules struct {
	forbidden map[string]bool // anywhere
	outside   map[string]bool // before an opening bracket
}

// newReaderRules asks the engine for the table functions that it does not
// itself count as harmless.
func newReaderRules(c *connection) (*readerRules, error) {
	names, err := c.query("SELECT lower(name) FROM system.table_functions WHERE NOT allow_readonly", "TSV")
	if err != nil {
		return nil, fmt.Errorf("list the table functions: %w", err)
	}
	r := &readerRules{forbidden: map[string]bool{}, outside: map[string]bool{}}
	for _, n := range alwaysForbidden {
		r.forbidden[n] = true
	}
	for n := range bytes.FieldsSeq(names) {
		r.outside[string(n)] = true
	}
	return r, nil
}

// check says why the user reader may not run the statement, or nil.
func (r *readerRules) check(sql string) error {
	if w := firstWord(sql); !readerWords[w] {
		return readOnlyError("the user reader may only read: SELECT, SHOW, DESCRIBE, EXISTS and EXPLAIN")
	}
	l := lexer{text: sql}
	var before token
	for {
		t := l.next()
		if l.odd {
			return readOnlyError("the user reader may not use escapes in names, heredocs, #-comments, comments in comments, or characters beyond ASCII outside quotes")
		}
		if t.kind == tokenEnd {
			return nil
		}
		name := strings.ToLower(before.text)
		if t.kind == tokenName && r.forbidden[strings.ToLower(t.text)] {
			return readOnlyError(fmt.Sprintf("the user reader may not use %s", t.text))
		}
		if t.kind == tokenOther && t.text == "(" && before.kind == tokenName && r.outside[name] {
			return readOnlyError(fmt.Sprintf("the user reader may not use the table function %s", before.text))
		}
		before = t
	}
}

func readOnlyError(why string) error {
	return &engineError{"Code: 164. DB::Exception: " + why + ". (READONLY)"}
}
