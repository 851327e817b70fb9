package registry

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"fengsui/schemas"
)

//go:embed seed/*.csv
var seeds embed.FS

// Seeds are the names of the sets of units that come with the program.
func Seeds() []string {
	entries, err := seeds.ReadDir("seed")
	if err != nil {
		panic(err) // it is compiled in
	}
	var out []string
	for _, e := range entries {
		out = append(out, strings.TrimSuffix(e.Name(), ".csv"))
	}
	return out
}

// Seed adds the units of a set that are not there yet, in the name of who. What
// is there stays as it is: a division may have been given its authority's name.
func (r *Registry) Seed(ctx context.Context, who, name string) (added int, err error) {
	c, err := seed(name)
	if err != nil {
		return 0, err
	}
	err = r.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		parent, err := unitsOf(ctx, tx)
		if err != nil {
			return err
		}
		c.Units = slices.DeleteFunc(c.Units, func(u schemas.Unit) bool { _, there := parent[u.Code]; return there })
		added = len(c.Units)
		if err := checkTree(parent, c); err != nil {
			return classified{err, ErrInvalid}
		}
		records, err := recordsOf(c)
		if err != nil {
			return err
		}
		return put(ctx, tx, who, records)
	})
	if err != nil {
		return 0, fmt.Errorf("seeding the registry: %w", err)
	}
	return added, nil
}

func seed(name string) (*Content, error) {
	if !slices.Contains(Seeds(), name) {
		return nil, classified{fmt.Errorf("there is no seed %q, only %s", name, strings.Join(Seeds(), ", ")), ErrNotFound}
	}
	file := "seed/" + name + ".csv"
	raw, err := seeds.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c, err := ReadFile(file, bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	return c, Check(c)
}
