package augment

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"

	"github.com/graft-ml/graft/internal/transform"
)

// defaults holds each step with the arguments that torchvision gives it.
var defaults = map[string]Step{}

func init() {
	for _, step := range []Step{
		RandomResizedCrop{Scale: Range{0.08, 1}, Ratio: Range{3.0 / 4, 4.0 / 3}},
		RandomHorizontalFlip{P: 0.5},
		RandomVerticalFlip{P: 0.5},
		RandomGrayscale{P: 0.1},
		RandomRotation{Interpolation: transform.Nearest},
		ColorJitter{},
		RandAugment{NumOps: 2, Magnitude: 9, Bins: 31, Interpolation: transform.Nearest},
		TrivialAugmentWide{Bins: 31, Interpolation: transform.Nearest},
		RandomErasing{P: 0.5, Scale: Range{0.02, 0.33}, Ratio: Range{0.3, 3.3}},
		MixUp{Alpha: 1},
		CutMix{Alpha: 1},
	} {
		defaults[step.name()] = step
	}
}

// presets are texts by short names. That of light is torchvision's reference training without a policy, with the smallest
// area that fastai's examples use; those of trivial and rand are torchvision's reference training with --auto-augment ta_wide
// --random-erase 0.1 and with --auto-augment ra (references/classification/presets.py).
var presets = map[string]string{
	"none":    "",
	"light":   "RandomResizedCrop(scale=0.35:1),RandomHorizontalFlip",
	"trivial": "RandomResizedCrop,RandomHorizontalFlip,TrivialAugmentWide(interpolation=bilinear),RandomErasing(p=0.1)",
	"rand":    "RandomResizedCrop,RandomHorizontalFlip,RandAugment(interpolation=bilinear)",
}

// Presets returns the names of the short forms that Parse knows.
func Presets() []string { return slices.Sorted(maps.Keys(presets)) }

// Names returns the names of the steps that Parse knows.
func Names() []string { return slices.Sorted(maps.Keys(defaults)) }

// Parse reads a list of steps by torchvision's names, separated by commas, with named arguments in parentheses. What is
// left out has torchvision's default:
//
//	RandomResizedCrop(scale=0.35:1), RandomHorizontalFlip(p=0.5), ColorJitter(brightness=0.2, hue=-0.1:0.1), TrivialAugmentWide
//
// The names of presets stand for the steps of these:
//
//	none     (nothing)
//	light    RandomResizedCrop(scale=0.35:1),RandomHorizontalFlip
//	trivial  RandomResizedCrop,RandomHorizontalFlip,TrivialAugmentWide(interpolation=bilinear),RandomErasing(p=0.1)
//	rand     RandomResizedCrop,RandomHorizontalFlip,RandAugment(interpolation=bilinear)
//
// Errors name the step or argument that isn't known, with similar ones, or whose value is out of range.
func Parse(text string) (List, error) {
	var list List
	for text = strings.TrimSpace(text); text != ""; {
		var item string
		var err error
		if item, text, err = cutItem(text); err != nil {
			return nil, fmt.Errorf("augment: %w", err)
		}
		steps, err := parseItem(item)
		if err != nil {
			return nil, fmt.Errorf("augment: %w", err)
		}
		list = append(list, steps...)
	}
	if err := list.check(); err != nil {
		return nil, err
	}
	return list, nil
}

// cutItem returns what comes before the first comma outside of parentheses, and what comes after it.
func cutItem(text string) (item, rest string, err error) {
	depth := 0
	for i, c := range text {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				rest = strings.TrimSpace(text[i+1:])
				if rest == "" {
					return "", "", fmt.Errorf("%q: nothing follows the last comma", text)
				}
				return text[:i], rest, nil
			}
		}
		if depth < 0 || depth > 1 {
			return "", "", fmt.Errorf("%q: the parentheses don't match", text)
		}
	}
	if depth != 0 {
		return "", "", fmt.Errorf("%q: the parentheses don't match", text)
	}
	return text, "", nil
}

// parseItem reads one step or preset.
func parseItem(item string) (List, error) {
	name, arguments, called := strings.Cut(strings.TrimSpace(item), "(")
	name = strings.TrimSpace(name)
	if preset, ok := presets[name]; ok && !called {
		return Parse(preset)
	}
	step, ok := defaults[name]
	if !ok {
		return nil, unknown("step", name, append(Names(), Presets()...))
	}
	if called {
		var found bool
		if arguments, found = strings.CutSuffix(arguments, ")"); !found {
			return nil, fmt.Errorf("%s: a comma is missing after the parenthesis", name)
		}
	}
	step, err := withArguments(step, arguments)
	if err == nil {
		err = step.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return List{step}, nil
}

// withArguments returns the step with those of its arguments changed that the text gives.
func withArguments(step Step, text string) (Step, error) {
	if strings.TrimSpace(text) == "" {
		return step, nil
	}
	value := settable(step)
	given := map[string]bool{}
	for part := range strings.SplitSeq(text, ",") {
		name, text, ok := strings.Cut(part, "=")
		name, text = strings.TrimSpace(name), strings.TrimSpace(text)
		if !ok {
			return nil, fmt.Errorf("%q: arguments have names, as in %s=…", part, argumentNames(step)[0])
		}
		i := slices.Index(argumentNames(step), name)
		if i < 0 {
			return nil, unknown("argument", name, argumentNames(step))
		}
		if given[name] {
			return nil, fmt.Errorf("%s is given twice", name)
		}
		given[name] = true
		if err := parseArgument(value.Field(i).Addr().Interface(), text); err != nil {
			return nil, fmt.Errorf("%s=%s: %w", name, text, err)
		}
	}
	return value.Interface().(Step), nil
}

// settable returns a copy of the step whose fields, its arguments, can be set.
func settable(step Step) reflect.Value {
	v := reflect.New(reflect.TypeOf(step)).Elem()
	v.Set(reflect.ValueOf(step))
	return v
}

func argumentNames(step Step) []string {
	var names []string
	for field := range reflect.TypeOf(step).Fields() {
		names = append(names, field.Tag.Get("json"))
	}
	return names
}

func parseArgument(argument any, text string) (err error) {
	switch argument := argument.(type) {
	case *int:
		if *argument, err = strconv.Atoi(text); err != nil {
			return fmt.Errorf("%q is no whole number", text)
		}
		return nil
	case *float64:
		return parseNumbers(text, func(numbers []float64) error {
			if len(numbers) != 1 {
				return fmt.Errorf("one number is needed")
			}
			*argument = numbers[0]
			return nil
		})
	case *transform.Interpolation:
		return argument.UnmarshalText([]byte(text))
	default:
		return argument.(interface{ parse(string) error }).parse(text)
	}
}

func unknown(kind, name string, known []string) error {
	var near []string
	for _, k := range known {
		a, b := strings.ToLower(name), strings.ToLower(k)
		if len(name) < 100 && (levenshtein.ComputeDistance(a, b) <= max(2, len(a)/3) || a != "" && strings.Contains(b, a)) {
			near = append(near, k)
		}
	}
	if near != nil {
		return fmt.Errorf("unknown %s %q: did you mean %s?", kind, name, strings.Join(near, " or "))
	}
	return fmt.Errorf("unknown %s %q: known are %s", kind, name, strings.Join(known, ", "))
}

// String returns the text that Parse reads, without spaces, presets and arguments that have their default; "none" for an
// empty list.
func (l List) String() string {
	if len(l) == 0 {
		return "none"
	}
	var texts []string
	for _, step := range l {
		texts = append(texts, step.String())
	}
	return strings.Join(texts, ",")
}

// text returns a step's text.
func text(step Step) string {
	have, usual := reflect.ValueOf(step), reflect.ValueOf(defaults[step.name()])
	var arguments []string
	for i, name := range argumentNames(step) {
		if v := have.Field(i).Interface(); v != usual.Field(i).Interface() {
			arguments = append(arguments, name+"="+argumentText(v))
		}
	}
	if arguments == nil {
		return step.name()
	}
	return step.name() + "(" + strings.Join(arguments, ",") + ")"
}

func argumentText(argument any) string {
	switch argument := argument.(type) {
	case float64:
		return formatNumbers([]float64{argument})
	case interface{ text() string }:
		return argument.text()
	default:
		return fmt.Sprint(argument)
	}
}

// MarshalJSON returns an array of objects with each step's "type" and all its arguments. Equal lists have equal JSON.
func (l List) MarshalJSON() ([]byte, error) {
	list := make([]json.RawMessage, len(l))
	for i, step := range l {
		fields, err := json.Marshal(step)
		if err != nil {
			return nil, err
		}
		list[i] = fmt.Appendf(nil, `{"type":%q,%s`, step.name(), fields[1:])
	}
	return json.Marshal(list)
}

// UnmarshalJSON reads what MarshalJSON wrote. Errors name the step: one of an unknown type, one in the wrong place, and
// one with an argument missing, unknown or out of range.
func (l *List) UnmarshalJSON(data []byte) error {
	var objects []map[string]json.RawMessage
	if err := json.Unmarshal(data, &objects); err != nil {
		return fmt.Errorf("augment: not a list of steps: %w", err)
	}
	list := make(List, len(objects))
	for i, object := range objects {
		var err error
		if list[i], err = decodeStep(object); err != nil {
			return fmt.Errorf("augment: step %d: %w", i+1, err)
		}
	}
	if err := list.check(); err != nil {
		return err
	}
	*l = list
	return nil
}

func decodeStep(object map[string]json.RawMessage) (Step, error) {
	var name string
	if err := json.Unmarshal(object["type"], &name); err != nil {
		return nil, fmt.Errorf(`its "type" is missing`)
	}
	step, ok := defaults[name]
	if !ok {
		return nil, unknown("type", name, Names())
	}
	names := argumentNames(step)
	for field := range object {
		if field != "type" && !slices.Contains(names, field) {
			return nil, fmt.Errorf("%s: %w", name, unknown("argument", field, names))
		}
	}
	value := settable(step)
	for i, field := range names {
		data, ok := object[field]
		if !ok || string(data) == "null" {
			return nil, fmt.Errorf("%s: %q is missing", name, field)
		}
		if err := json.Unmarshal(data, value.Field(i).Addr().Interface()); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", name, field, err)
		}
	}
	return value.Interface().(Step), nil
}
