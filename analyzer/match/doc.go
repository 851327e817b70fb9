// Package match decides which rules an event meets. A Sigma rule becomes a tree
// of tests; the tree becomes an expr program whose tests are typed predicates
// over the catalogue's fields; and an event tries only the programs that its log
// source, and what else is fixed for events of its shape, leave possible.
//
// The tree is kept: evaluated plainly it is the oracle that the programs are
// compared with, and it says which values satisfied a rule.
//
// It is pure: no topic, no database, no file, no clock (Bench alone measures
// time). It never counts matches over time, raises an alert or changes an event.
package match
