// Package rules holds the detection content and reads it: Sigma rules and Sigma
// correlations, from the program itself (Shipped), a folder or a file, into typed
// structs that name the file and line of everything they hold.
//
// It says what a rule is, never what it means: fields, log sources, modifiers
// and conditions are the matcher's to judge. It opens no connection and reads
// no clock.
package rules
