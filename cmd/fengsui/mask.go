package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fengsui/analyzer"
	"fengsui/analyzer/mask"
)

func newMask(flags *globalFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use: "mask", Short: "个人信息脱敏 / masking of personal data",
		Long: `分析器在存储和发送之前替换个人信息（analyzer.privacy）。这里生成密钥、凭密钥还原标记、试验配置。
The analyzer replaces personal data before anything is stored or sent on
(analyzer.privacy). Here keys are made, tokens are opened with them, and the
configuration is tried on a file.`,
		Example: "  fengsui mask key new /etc/fengsui/mask.key\n  fengsui mask test access.log\n  fengsui events --json 'user.name = masked-phone-*' | fengsui mask open",
	}
	key := &cobra.Command{Use: "key", Short: "密钥 / keys", Example: "  fengsui mask key new /etc/fengsui/mask.key"}
	key.AddCommand(newMaskKey(flags))
	cmd.AddCommand(key, newMaskOpen(flags), newMaskTest(flags))
	return cmd
}

func newMaskKey(flags *globalFlags) *cobra.Command {
	return &cobra.Command{
		Use: "new FILE", Short: "生成密钥文件（0600） / make a key in a new file of mode 0600",
		Long: `生成新密钥。已有的文件不会被覆盖。没有密钥就不能还原，请另外保管一份副本。
Make a new key. A file that exists is never overwritten. Without the key nothing can
be opened: keep a copy elsewhere.`,
		Example: "  fengsui mask key new /etc/fengsui/mask.key", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text := mask.NewKeyText()
			key, err := mask.ParseKey(text)
			if err != nil {
				return err
			}
			if err := writeNew(args[0], text); err != nil {
				return err
			}
			return out(cmd, flags, map[string]string{"file": args[0], "key": key.ID()}, fmt.Sprintf("%s: %s", args[0], key))
		},
	}
}

// writeNew writes a file that is not there yet, and makes sure of it.
func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func newMaskOpen(flags *globalFlags) *cobra.Command {
	var keyFiles []string
	var audit string
	cmd := &cobra.Command{
		Use: "open [TOKEN…]", Short: "凭密钥还原标记 / open tokens with the key",
		Long: `还原给出的标记；没有给出时，还原标准输入文本中的所有标记，其余照写。
密钥：--key（可多次），否则是配置中的 analyzer.privacy.key_file、key 与 old_key_files。
每次还原在审计文件中留一行：何时、何人、用哪个密钥、多少个，不含任何值；写不进审计文件就不还原。
Open the tokens given, or without any all tokens in the text on standard input, and
write the rest as it is. Keys are those of --key, which may be repeated, else those
of the configuration. Each call leaves a line in the audit file: when, who, which
keys and how many, and no value. Where it cannot be written nothing is opened.`,
		Example: "  fengsui mask open masked-phone-booktceh… --key /etc/fengsui/mask.key\n  fengsui alerts --json | fengsui mask open > opened.jsonl",
		RunE: func(cmd *cobra.Command, tokens []string) error {
			cfg, err := loadConfig(flags)
			if err != nil {
				return usageError{err}
			}
			keys, err := openingKeys(cfg, keyFiles)
			if err != nil {
				return usageError{err}
			}
			if audit == "" {
				audit = filepath.Join(cfg.DataDir, "mask-audit.log")
			}
			o := &opening{ring: mask.NewKeyring(keys...), audit: audit, json: flags.json, w: bufio.NewWriter(cmd.OutOrStdout())}
			for _, k := range keys {
				o.keys = append(o.keys, k.ID())
			}
			if len(tokens) > 0 {
				return o.tokens(tokens)
			}
			return o.text(cmd.InOrStdin())
		},
	}
	cmd.Flags().StringArrayVar(&keyFiles, "key", nil, "key file (default: the keys of the configuration)")
	cmd.Flags().StringVar(&audit, "audit", "", "audit file (default: mask-audit.log in the data directory)")
	return cmd
}

func openingKeys(cfg *Config, files []string) (keys []*mask.Key, err error) {
	if len(files) == 0 {
		keys, err = cfg.Analyzer.Privacy.Keys()
	}
	for _, path := range files {
		k, err := analyzer.ReadMaskKey(path)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if err == nil && len(keys) == 0 {
		err = errors.New("no key: give --key FILE, or set analyzer.privacy.key_file")
	}
	return keys, err
}

// opening is one call of mask open.
type opening struct {
	ring  mask.Keyring
	keys  []string
	audit string
	json  bool
	w     *bufio.Writer
}

// opened is one token as --json writes it.
type opened struct {
	Token string `json:"token"`
	Class string `json:"class,omitempty"`
	Value string `json:"value,omitempty"`
	Error string `json:"error,omitempty"`
}

func (o *opening) tokens(tokens []string) error {
	results := make([]opened, len(tokens))
	failed := 0
	for i, token := range tokens {
		results[i] = opened{Token: token}
		value, class, err := o.ring.Open(token)
		if err != nil {
			results[i].Error = err.Error()
			failed++
			continue
		}
		results[i].Value, results[i].Class = value, class.String()
	}
	if err := o.record("tokens", len(tokens)-failed, failed); err != nil {
		return err
	}
	for _, r := range results {
		if err := o.write(r); err != nil {
			return err
		}
	}
	if err := o.w.Flush(); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d tokens could not be opened", failed, len(tokens))
	}
	return nil
}

func (o *opening) write(r opened) error {
	if o.json {
		return json.NewEncoder(o.w).Encode(r)
	}
	if r.Error != "" {
		_, err := fmt.Fprintf(o.w, "%s: %s\n", printable(r.Token), r.Error)
		return err
	}
	_, err := fmt.Fprintln(o.w, r.Value)
	return err
}

// maxTextLine bounds a line of the text that is filtered or tried.
const maxTextLine = 16 << 20

// text opens what there is in a text, line by line. Its first line in the audit
// says that it began: what was opened before it broke off is then not unsaid.
func (o *opening) text(in io.Reader) error {
	if err := o.record("text begun", 0, 0); err != nil {
		return err
	}
	lines := newLines(in)
	opened, left := 0, 0
	for lines.Scan() {
		text, n, m := o.ring.OpenText(lines.Text())
		opened, left = opened+n, left+m
		if _, err := o.w.WriteString(text); err != nil {
			return errors.Join(err, o.record("text", opened, left))
		}
	}
	return errors.Join(o.w.Flush(), lines.Err(), o.record("text", opened, left))
}

// newLines reads lines with their ends, so that a text is written as it was.
func newLines(in io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxTextLine)
	s.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			return i + 1, data[:i+1], nil
		}
		if atEOF && len(data) > 0 {
			return len(data), data, nil
		}
		return 0, nil, nil
	})
	return s
}

// record writes a line of the audit, and is sure that it is written.
func (o *opening) record(what string, opened, left int) error {
	who := strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	line, err := json.Marshal(struct {
		At     time.Time `json:"at"`
		Who    string    `json:"who"`
		Sudo   string    `json:"sudo,omitempty"`
		What   string    `json:"what"`
		Keys   []string  `json:"keys"`
		Opened int       `json:"opened"`
		Left   int       `json:"left"`
	}{time.Now().UTC(), who, os.Getenv("SUDO_USER"), "mask open: " + what, o.keys, opened, left})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(o.audit), 0o700); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	f, err := os.OpenFile(o.audit, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	_, err = f.Write(append(line, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	return nil
}

func newMaskTest(flags *globalFlags) *cobra.Command {
	return &cobra.Command{
		Use: "test FILE", Short: "试验会脱敏什么 / show what would be masked in a file",
		Long: `按配置逐行说明文件中会替换什么：行号、类别、原值和替换后的值；FILE 为 - 时读标准输入。
会显示原值，请只用于自己的文件。按解析后的字段名（而不是文本中的键）识别的姓名，这里看不到。
Say for each line what the configuration would replace: its number, the class, the
value and what stands for it. FILE may be -. Values are shown: use it on files of
your own. Names that only a parsed field's name tells are not seen here.`,
		Example: "  fengsui mask test access.log\n  fengsui mask test --json - < sample.jsonl", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadConfig(flags)
			if err != nil {
				return usageError{err}
			}
			privacy := cfg.Analyzer.Privacy
			if err := privacy.Validate(); err != nil {
				return usageError{fmt.Errorf("analyzer.privacy: %w", err)}
			}
			masker, err := privacy.Masker()
			if err != nil {
				return usageError{err}
			}
			in := cmd.InOrStdin()
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			w := bufio.NewWriter(cmd.OutOrStdout())
			return errors.Join(tryMask(w, in, masker, flags.json), w.Flush())
		},
	}
}

// tried is one piece of personal data as --json writes it.
type tried struct {
	Line  int    `json:"line"`
	Class string `json:"class"`
	Do    string `json:"do"`
	Value string `json:"value"`
	Mask  string `json:"mask"`
}

func tryMask(w io.Writer, in io.Reader, m *mask.Masker, asJSON bool) error {
	counts := map[string]int{}
	lines := newLines(in)
	enc := json.NewEncoder(w)
	total := 0
	for lines.Scan() {
		total++
		line := strings.TrimRight(lines.Text(), "\r\n")
		for _, f := range m.Find(nil, line) {
			t := tried{total, f.Class.String(), string(m.Rule(f.Class).Do), line[f.From:f.To], m.Replace(f.Class, line[f.From:f.To])}
			counts[t.Class]++
			var err error
			if asJSON {
				err = enc.Encode(t)
			} else {
				_, err = fmt.Fprintf(w, "%d\t%s\t%s\t%s\n", t.Line, t.Class, printable(t.Value), t.Mask)
			}
			if err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if asJSON {
		return enc.Encode(map[string]any{"lines": total, "found": counts})
	}
	for _, class := range sortedKeys(counts) {
		fmt.Fprintf(w, "%s: %d\n", class, counts[class])
	}
	_, err := fmt.Fprintf(w, "%d 行 / lines\n", total)
	return err
}
