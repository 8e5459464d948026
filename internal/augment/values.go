package augment

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Range is a lowest and a highest value. Its text is "0.08:1", its JSON [0.08, 1].
type Range [2]float64

func (r Range) check(name string, low, high float64) error {
	if !(low <= r[0] && r[0] <= r[1] && r[1] <= high) {
		return fmt.Errorf("%s=%s: a lower and an upper value from %v to %v are needed, such as %v:%v", name, r.text(), low, high, low, high)
	}
	return nil
}

func (r Range) text() string { return formatNumbers(r[:]) }

func (r *Range) set(numbers []float64) error {
	if len(numbers) != 2 {
		return errors.New("two numbers are needed, such as 0.5:1")
	}
	*r = Range(numbers)
	return nil
}

func (r *Range) parse(text string) error         { return parseNumbers(text, r.set) }
func (r *Range) UnmarshalJSON(data []byte) error { return unmarshalNumbers(data, r.set) }

// Spread is how far a value may be from its usual one, Spread{v} with v above 0, or else the lowest and highest value,
// Spread{low, high}. Spread{} changes nothing. Its text is "0.2" or "0.8:1.2", its JSON a number or an array of two.
type Spread [2]float64

func (s Spread) single() bool { return s[1] == 0 && s[0] >= 0 }

// around returns the lowest and the highest value, where center is the usual one and none is below least.
func (s Spread) around(center, least float64) (low, high float64) {
	if s.single() {
		return max(least, center-s[0]), center + s[0]
	}
	return s[0], s[1]
}

func (s Spread) check(name string, center, least, most float64) error {
	low, high := s.around(center, least)
	if !(least <= low && low <= high && high <= most) {
		return fmt.Errorf("%s=%s: a number not below 0, or a lower and an upper value, is needed, within %v:%v", name, s.text(), least, most)
	}
	return nil
}

func (s Spread) numbers() []float64 {
	if s.single() {
		return s[:1]
	}
	return s[:]
}

func (s Spread) text() string { return formatNumbers(s.numbers()) }

func (s *Spread) set(numbers []float64) error {
	switch {
	case len(numbers) == 1 && numbers[0] >= 0:
		*s = Spread{numbers[0]}
	case len(numbers) == 2 && !Spread(numbers).single():
		*s = Spread(numbers)
	default:
		return errors.New("a number not below 0, or a lower and a higher one, is needed, such as 0.2 or 0.8:1.2")
	}
	return nil
}

func (s *Spread) parse(text string) error         { return parseNumbers(text, s.set) }
func (s Spread) MarshalJSON() ([]byte, error)     { return marshalNumbers(s.numbers()) }
func (s *Spread) UnmarshalJSON(data []byte) error { return unmarshalNumbers(data, s.set) }

// Fill is the colour of what lies outside a picture, red, green and blue from 0 to 255. Its text is "128" for a grey or
// "124:116:104", its JSON a number or an array of three.
type Fill [3]uint8

func (f Fill) numbers() []float64 {
	if f[0] == f[1] && f[1] == f[2] {
		return []float64{float64(f[0])}
	}
	return []float64{float64(f[0]), float64(f[1]), float64(f[2])}
}

func (f Fill) text() string { return formatNumbers(f.numbers()) }

func (f *Fill) set(numbers []float64) error {
	if len(numbers) == 1 {
		numbers = []float64{numbers[0], numbers[0], numbers[0]}
	}
	if len(numbers) != len(f) {
		return errors.New("one number, or red, green and blue, is needed, such as 0 or 124:116:104")
	}
	for i, v := range numbers {
		if !(v >= 0 && v <= 255) || v != math.Trunc(v) {
			return fmt.Errorf("%v is no whole number from 0 to 255", v)
		}
		f[i] = uint8(v)
	}
	return nil
}

func (f *Fill) parse(text string) error         { return parseNumbers(text, f.set) }
func (f Fill) MarshalJSON() ([]byte, error)     { return marshalNumbers(f.numbers()) }
func (f *Fill) UnmarshalJSON(data []byte) error { return unmarshalNumbers(data, f.set) }

// EraseValue is what [RandomErasing] fills rectangles with: Number, or standard normal noise. Its text is a number or
// "random", as is its JSON.
type EraseValue struct {
	Number float64
	Random bool
}

func (v EraseValue) check() error {
	if math.IsNaN(v.Number) || math.Abs(v.Number) > 1000 || v.Random && v.Number != 0 {
		return fmt.Errorf("value=%v: it must be random, or a number from -1000 to 1000", v.Number)
	}
	return nil
}

// plane returns a function that gives the value of a channel of each of the pixels.
func (v EraseValue) plane(w *workspace, r *random, pixels int) func(channel, pixel int) float32 {
	if !v.Random {
		return func(int, int) float32 { return float32(v.Number) }
	}
	if cap(w.noise) < 3*pixels {
		w.noise = make([]float32, 3*pixels)
	}
	noise := w.noise[:3*pixels]
	r.normals(noise)
	return func(channel, pixel int) float32 { return noise[channel*pixels+pixel] }
}

const randomText = "random"

func (v EraseValue) text() string {
	if v.Random {
		return randomText
	}
	return formatNumbers([]float64{v.Number})
}

func (v *EraseValue) parse(text string) error {
	if text == randomText {
		*v = EraseValue{Random: true}
		return nil
	}
	return parseNumbers(text, v.set)
}

func (v *EraseValue) set(numbers []float64) error {
	if len(numbers) != 1 {
		return errors.New("a number or random is needed")
	}
	*v = EraseValue{Number: numbers[0]}
	return nil
}

func (v EraseValue) MarshalJSON() ([]byte, error) {
	if v.Random {
		return json.Marshal(randomText)
	}
	return json.Marshal(v.Number)
}

func (v *EraseValue) UnmarshalJSON(data []byte) error {
	if string(data) == `"`+randomText+`"` {
		return v.parse(randomText)
	}
	return unmarshalNumbers(data, v.set)
}

func parseNumbers(text string, set func([]float64) error) error {
	var numbers []float64
	for part := range strings.SplitSeq(text, ":") {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%q is no number", part)
		}
		numbers = append(numbers, v)
	}
	return set(numbers)
}

func formatNumbers(numbers []float64) string {
	var texts []string
	for _, v := range numbers {
		texts = append(texts, strconv.FormatFloat(v, 'g', -1, 64))
	}
	return strings.Join(texts, ":")
}

func marshalNumbers(numbers []float64) ([]byte, error) {
	if len(numbers) == 1 {
		return json.Marshal(numbers[0])
	}
	return json.Marshal(numbers)
}

func unmarshalNumbers(data []byte, set func([]float64) error) error {
	var numbers []float64
	if len(data) > 0 && data[0] != '[' {
		data = fmt.Appendf(nil, "[%s]", data)
	}
	if err := json.Unmarshal(data, &numbers); err != nil {
		return err
	}
	return set(numbers)
}
