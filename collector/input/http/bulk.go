package http

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// item is one action of a _bulk request, and what is answered to it.
type item struct {
	action    string
	index, id string
	status    int
}

// itemCost is what an item costs beside its texts, in a slice that grew.
const itemCost = 160

// bulk is Elasticsearch's _bulk: each document that is to be indexed is a line.
// https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk
var bulk = protocol{name: "bulk", frame: (*request).frameBulk, answer: (*request).answerBulk, refuse: refuseElastic}

// document is a document by itself: PUT or POST of /index/_doc, /index/_create.
var document = protocol{
	name: "bulk",
	frame: func(q *request) *failure {
		if doc := oneLine(bytes.TrimSpace(q.body)); len(doc) > 0 {
			return q.add(doc)
		}
		return malformed("request body is required")
	},
	answer: func(q *request) {
		id := ""
		if len(q.path) == 3 {
			id = q.path[2]
		}
		elasticHeader(q.w)
		q.w.WriteHeader(http.StatusCreated)
		_, _ = q.w.Write(append(q.appendItem(nil, item{index: q.path[0], id: id, status: http.StatusCreated}), '\n'))
	},
	refuse: refuseElastic,
}

// oneLine is JSON as one line, since newlines can only be space in it.
func oneLine(doc []byte) []byte {
	if bytes.IndexByte(doc, '\n') < 0 {
		return doc
	}
	var b bytes.Buffer
	if json.Compact(&b, doc) != nil {
		return doc // the parser will say why it is none
	}
	return b.Bytes()
}

// frameBulk cuts pairs of an action and its document. Like Elasticsearch it takes
// nothing of a request with an action that cannot be read.
func (q *request) frameBulk() *failure {
	index := ""
	if len(q.path) == 2 {
		index = q.path[0]
	}
	rest := q.body
	for number := 1; len(rest) > 0; number++ {
		var action []byte
		if action, rest, _ = bytes.Cut(rest, []byte("\n")); len(bytes.TrimSpace(action)) == 0 {
			continue
		}
		it, ok := readAction(action, index)
		if !ok {
			return malformed("Malformed action/metadata line [%d], expected an object with one of index, create, update, delete", number)
		}
		var doc []byte
		if it.action != "delete" {
			number++
			if doc, rest, _ = bytes.Cut(rest, []byte("\n")); len(doc) == 0 {
				return malformed("The document of the action in line [%d] is missing", number-1)
			}
		}
		if !q.hold(itemCost + len(it.index) + len(it.id)) {
			return noMemory
		}
		if len(q.items) >= q.in.cfg.MaxLines {
			return tooLarge("more than %d actions", q.in.cfg.MaxLines)
		}
		if it.status == http.StatusCreated {
			if f := q.add(bytes.TrimSuffix(doc, []byte("\r"))); f != nil {
				return f
			}
		} else {
			q.in.items.Inc()
			q.in.conns.Refuse("item")
		}
		q.items = append(q.items, it)
	}
	if len(q.items) == 0 {
		return malformed("request body is required")
	}
	return nil
}

// readAction reads a line such as {"index":{"_index":"logs","_id":"1"}}.
func readAction(line []byte, index string) (it item, ok bool) {
	if !json.Valid(line) {
		return it, false
	}
	count := 0
	members(line, func(key string, value []byte) bool {
		count++
		switch key {
		case "index", "create":
			it.status = http.StatusCreated
		case "update", "delete": // what was logged stays as it was
			it.status = http.StatusBadRequest
		default:
			return true
		}
		ok = value[0] == '{'
		it.action, it.index = key, index
		if v := member(value, "_index"); v != nil {
			it.index = text(v)
		}
		if v := member(value, "_id"); v != nil {
			it.id = text(v)
		}
		return true
	})
	return it, ok && count == 1
}

// answerBulk answers each action, in their order.
func (q *request) answerBulk() {
	errors := false
	for _, it := range q.items {
		errors = errors || it.status != http.StatusCreated
	}
	elasticHeader(q.w)
	w := bufio.NewWriterSize(q.w, 16<<10)
	fmt.Fprintf(w, `{"took":0,"errors":%t,"items":[`, errors)
	var b []byte
	for i, it := range q.items {
		b = b[:0]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '{', '"')
		b = append(b, it.action...)
		b = append(b, '"', ':')
		b = q.appendItem(b, it)
		b = append(b, '}')
		if _, err := w.Write(b); err != nil {
			return // the client is gone; it will send again
		}
	}
	_, _ = w.WriteString("]}\n") // so here
	_ = w.Flush()
}

func (q *request) appendItem(b []byte, it item) []byte {
	if it.id == "" && it.status == http.StatusCreated {
		it.id = q.in.name + strconv.FormatUint(q.in.serial.Add(1), 10)
	}
	b = append(b, `{"_index":`...)
	b = appendString(b, it.index)
	b = append(b, `,"_id":`...)
	b = appendString(b, it.id)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(it.status), 10)
	if it.status != http.StatusCreated {
		return append(b, `,"error":{"type":"illegal_argument_exception","reason":"only index and create are taken: what was logged is not changed"}}`...)
	}
	return append(b, `,"_version":1,"result":"created","_shards":{"total":1,"successful":1,"failed":0},"_seq_no":0,"_primary_term":1}`...)
}
