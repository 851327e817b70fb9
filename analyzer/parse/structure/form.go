package structure

const (
	// MaxForm bounds the keys of a form.
	MaxForm = 64

	maxForms  = 64   // that are remembered at once
	maxNodes  = 2048 // of them
	forgetful = 4096 // lines that no form fits, until the forms give way to others
)

// Forms remembers the orders of keys that lines of a reader had. A line that has
// the same keys as an earlier one, in the same order, is cut into its values
// alone. What is cut is what KV would read; a line that has anything else is left
// to it. It is not safe for concurrent use.
type Forms struct {
	by    *KV
	nodes []formNode // a tree; the first is where all lines begin
	count int
	seen  [64]uint64 // forms of single lines, by their hashes
	full  int        // lines since there was no room
}

// formNode is a key after those on the way to it.
type formNode struct {
	text             string
	head, mask, tail uint64 // its first eight bytes, or what there is of them, and its last, compared at once
	child, next      int32  // the first of the keys after it; another key in its place; 0 is none
	form             int32  // of lines that end with it, or -1
}

func newFormNode(key string) formNode {
	n := formNode{text: key, mask: ^uint64(0), form: -1}
	if len(key) < 8 {
		n.mask = 1<<(8*len(key)) - 1
	} else {
		n.tail = eight(key[len(key)-8:])
	}
	n.head = eight(key+"        ") & n.mask
	return n
}

// NewForms makes forms of a reader's lines.
func NewForms(by *KV) *Forms { return &Forms{by: by, nodes: make([]formNode, 1)} }

// Read cuts a line and returns the number of its form and of its values, which it
// has written to values; form -1 is a line without a known one. There must be room
// for MaxForm values.
func (f *Forms) Read(values []string, s string) (form, n int) {
	k, at := f.by, 0
	for i := f.nodes[0].child; i != 0; {
		key := &f.nodes[i]
		i = key.next // if the line has not this one
		end := at + len(key.text)
		if end+1 >= len(s) || k.class[s[end]]&isAssign == 0 {
			continue
		}
		if at+8 > len(s) || len(key.text) > 16 {
			if s[at:end] != key.text {
				continue
			}
		} else if eight(s[at:])&key.mask != key.head || len(key.text) > 8 && eight(s[end-8:]) != key.tail {
			continue
		}
		v, after := end+1, 0
		switch c := k.class[s[v]]; {
		case c&isQuote != 0:
			v++
			if end = near(s, v, s[v-1]); end < 0 || s[end-1] == '\\' {
				return f.none(values, n)
			}
			after = end + 1
		case c&isBlank != 0:
			return f.none(values, n)
		default:
			end = k.separator(s, v)
			if after = end; end > v && k.class[s[end-1]]&isBlank != 0 {
				return f.none(values, n)
			}
		}
		values[n] = s[v:end]
		n++
		if after == len(s) {
			if key.form < 0 {
				break
			}
			return int(key.form), n
		}
		if at = k.between(s, after); at < 0 {
			break
		}
		i = key.child
	}
	return f.none(values, n)
}

func (f *Forms) none(values []string, n int) (int, int) {
	clear(values[:n])
	return -1, 0
}

// between is where a few separators end that stand at from, or -1.
func (k *KV) between(s string, from int) int {
	start, class := from, uint8(0)
	for start < len(s) && start-from < 4 && k.class[s[start]]&(isSeparator|isBlank) != 0 {
		class |= k.class[s[start]]
		start++
	}
	if class&isSeparator == 0 {
		return -1
	}
	return start
}

// Learn remembers the form of a line that Read did not cut, by its pairs as
// AppendBy found them, if another line had it not long before. It returns the
// number of a form that is new, or -1. That number may have been another form's:
// then that and those of higher numbers are forgotten.
func (f *Forms) Learn(pairs []Pair, lex *Lexicon) int {
	if len(pairs) > MaxForm || !f.by.apart {
		return -1
	}
	hash := uint64(len(pairs))
	for i := range pairs {
		if pairs[i].Number == 0 {
			return -1
		}
		hash = mix(hash ^ uint64(pairs[i].Number)*0x9e3779b97f4a7c15) //nolint:gosec // not negative
	}
	if seen := &f.seen[hash%uint64(len(f.seen))]; *seen != hash {
		*seen = hash
		return -1
	}
	if f.count == maxForms || len(f.nodes)+len(pairs) > maxNodes {
		if f.full++; f.full < forgetful {
			return -1
		}
		f.nodes, f.count, f.full = append(f.nodes[:0], formNode{}), 0, 0
	}
	at := int32(0)
	for i := range pairs {
		at = f.after(at, lex.Word(int(pairs[i].Number)-1))
	}
	end := &f.nodes[at]
	if end.form >= 0 {
		return -1
	}
	end.form = int32(f.count) //nolint:gosec // of maxForms
	f.count++
	return int(end.form)
}

// after is the node of a key after that of another, which is made if it is none.
func (f *Forms) after(parent int32, key string) int32 {
	for i := f.nodes[parent].child; i != 0; i = f.nodes[i].next {
		if f.nodes[i].text == key {
			return i
		}
	}
	n := newFormNode(key)
	made := int32(len(f.nodes)) //nolint:gosec // of maxNodes
	n.next, f.nodes[parent].child = f.nodes[parent].child, made
	f.nodes = append(f.nodes, n)
	return made
}
