package transform

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// decoders holds, by the name of each step, how its parameters are read.
var decoders = map[string]func(data []byte) (Step, error){}

func register[S Step]() {
	var zero S
	decoders[zero.name()] = func(data []byte) (Step, error) {
		var s S
		err := json.Unmarshal(data, &s)
		return s, err
	}
}

func init() {
	register[Resize]()
	register[CenterCrop]()
	register[ToTensor]()
	register[Normalize]()
}

// MarshalJSON returns an array of the steps, each an object of its "type" and its parameters. Equal pipelines have equal
// JSON.
func (p *Pipeline) MarshalJSON() ([]byte, error) {
	list := make([]json.RawMessage, len(p.steps))
	for i, step := range p.steps {
		fields, err := json.Marshal(step)
		if err != nil {
			return nil, err
		}
		list[i] = fmt.Appendf(nil, `{"type":%q`, step.name())
		if string(fields) != "{}" {
			list[i] = append(list[i], ',')
		}
		list[i] = append(list[i], fields[1:]...)
	}
	return json.Marshal(list)
}

// UnmarshalJSON reads what MarshalJSON wrote. Errors name the step: one of an unknown type, one in the wrong place, and
// one with a field missing, unknown or out of range.
func (p *Pipeline) UnmarshalJSON(data []byte) error {
	var list []json.RawMessage
	if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("transform: not a list of steps: %w", err)
	}
	steps := make([]Step, len(list))
	for i, data := range list {
		var err error
		if steps[i], err = decodeStep(data); err != nil {
			return fmt.Errorf("transform: step %d: %w", i+1, err)
		}
	}
	made, err := New(steps...)
	if err != nil {
		return err
	}
	*p = *made
	return nil
}

func decodeStep(data []byte) (Step, error) {
	var fields map[string]json.RawMessage
	var name string
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(fields["type"], &name); err != nil {
		return nil, errors.New(`its "type" is missing`)
	}
	delete(fields, "type")
	decode, ok := decoders[name]
	if !ok {
		return nil, fmt.Errorf("unknown type %q: known are %q", name, slices.Sorted(maps.Keys(decoders)))
	}
	step, err := decode(data)
	if err == nil {
		err = checkFields(step, fields)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return step, nil
}

// checkFields tells of fields that encoding/json passes over: those that the step doesn't have and those left out.
func checkFields(step Step, have map[string]json.RawMessage) error {
	data, err := json.Marshal(step)
	if err != nil {
		return err
	}
	var want map[string]json.RawMessage
	if err := json.Unmarshal(data, &want); err != nil {
		return err
	}
	for field := range want {
		if v, ok := have[field]; !ok || string(v) == "null" {
			return fmt.Errorf("%q is missing", field)
		}
	}
	for field := range have {
		if _, ok := want[field]; !ok {
			return fmt.Errorf("unknown field %q", field)
		}
	}
	return nil
}
