package devices

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"fengsui/schemas"
)

// Value is a constant as its field's type has it.
func Value(field, text string) (schemas.Value, error) {
	if values, ok := allowed[field]; ok && !slices.Contains(values, text) {
		return schemas.Value{}, fmt.Errorf("%s %q is none of ECS's: %s", field, text, strings.Join(values, ", "))
	}
	f, ok := schemas.LookupField(field)
	if !ok {
		return schemas.String(text), nil
	}
	v, err := constant(f, text)
	if err != nil {
		return v, err
	}
	if f.List {
		v = schemas.List(v)
	}
	return v, nil
}

func constant(f schemas.Field, text string) (schemas.Value, error) {
	switch f.Type {
	case schemas.Long:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return schemas.Value{}, fmt.Errorf("%s is a whole number, not %q", f.Name, text)
		}
		return schemas.Int(n), nil
	case schemas.Double:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return schemas.Value{}, fmt.Errorf("%s is a number, not %q", f.Name, text)
		}
		return schemas.Float(n), nil
	case schemas.Boolean:
		if text != "true" && text != "false" {
			return schemas.Value{}, fmt.Errorf("%s is true or false, not %q", f.Name, text)
		}
		return schemas.Bool(text == "true"), nil
	case schemas.IP, schemas.Date:
		return schemas.Value{}, fmt.Errorf("%s is no constant", f.Name)
	}
	if text == "" {
		return schemas.Value{}, fmt.Errorf("%s: an empty text is no value", f.Name)
	}
	return schemas.String(text), nil
}

// The formats of times that have names; others are patterns of strftime's.
var TimeFormats = []string{"auto", "iso", "bsd", "epoch", "epoch_s", "epoch_ms", "epoch_us", "epoch_ns"}

// timeMarks are what may follow % in a format.
const timeMarks = "YymdeHIMSfbpzZ%"

// CheckTimeFormat says what is wrong with a format of times.
func CheckTimeFormat(format string) error {
	if slices.Contains(TimeFormats, format) {
		return nil
	}
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			continue
		}
		if i++; i == len(format) || strings.IndexByte(timeMarks, format[i]) < 0 {
			return fmt.Errorf("time format %q: after %% come %s", format, strings.Join(strings.Split(timeMarks, ""), " "))
		}
	}
	if !strings.Contains(format, "%") {
		return fmt.Errorf("time format %q is neither one of %s nor a pattern such as %%Y-%%m-%%d %%H:%%M:%%S", format, strings.Join(TimeFormats, ", "))
	}
	return nil
}
