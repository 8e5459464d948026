package train

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/graft-ml/graft/internal/checkpoint"
	"github.com/graft-ml/graft/internal/graph"
)

// StateConfig says where Fit keeps all that it needs to go on after it was stopped, whatever stopped
// it: it then comes to the same bits as if nothing had. The file is replaced after each epoch, within
// long ones, and when Fit is cancelled; it is complete at any time.
type StateConfig struct {
	Path     string        // of the file; "" for none
	Resume   bool          // go on from the file
	Interval time.Duration // between two writes within an epoch; 0 means 30 seconds

	// Description says what is trained on what: a file with another one is refused. What is in the
	// Config needn't be in it.
	Description map[string]string
}

func (c StateConfig) interval() time.Duration {
	switch {
	case c.Path == "":
		return math.MaxInt64
	case c.Interval == 0:
		return 30 * time.Second
	}
	return c.Interval
}

// ErrOtherTraining is the cause of an error where a state file belongs to another training.
var ErrOtherTraining = errors.New("the state is of another training")

// stateVersion is raised when a state file no longer means the same.
const stateVersion = 1

// A state file is a safetensors file. Its tensors are named by their kind, a slash and the parameter's
// name; its metadata are these, as JSON under "graft_training", and a checksum of both.
type stateJSON struct {
	Version     int               `json:"version"`
	Description map[string]string `json:"description"`
	Progress    progress          `json:"progress"`
	Steps       int               `json:"steps"`    // of the optimizer
	Averaged    bool              `json:"averaged"` // whether there is a moving average of the weights yet
	Random      []byte            `json:"random"`   // state of the generator
}

const (
	stateKey = "graft_training"
	crcKey   = "crc32c"
)

// describe is the caller's description and what decides the result.
func (f *fitter) describe() map[string]string {
	d := f.cfg.describe()
	for name, value := range map[string]any{
		"training samples": f.train.Len(), "test samples": f.test.Len(),
		"class weights": f.cfg.Loss.Weight, "mixed batches": f.cfg.Mix != nil,
	} {
		d[name] = fmt.Sprint(value)
	}
	return d
}

// describe is the part of the description that is known before the samples are.
func (c Config) describe() map[string]string {
	o := c.Optimizer
	d := map[string]string{}
	maps.Copy(d, c.State.Description)
	for name, value := range map[string]any{
		"number of classes": c.Classes,
		"batch size":        c.BatchSize, "batches a step": c.Accumulate,
		"optimizer": o.Name, "learning rate": o.LR, "weight decay": o.WeightDecay, "decay of vectors": !o.SpareVectors,
		"betas": o.Betas, "eps": o.Eps, "momentum": o.Momentum, "Nesterov": o.Nesterov, "rates of their own": o.LRScale != nil,
		"schedule":        strings.Trim(fmt.Sprintf("%+v", c.Schedule), "{}"),
		"label smoothing": c.Loss.LabelSmoothing, "gradient norm": c.ClipNorm,
		"decay of averaged weights": c.EMA, "monitor": c.Monitor,
	} {
		d[name] = fmt.Sprint(value)
	}
	if c.Schedule.Name == "cosine" || c.Schedule.Name == "onecycle" {
		d["epochs"] = fmt.Sprint(c.Epochs) // the others are the same however long
	}
	return d
}

// save writes the state file, where one is wanted.
func (f *fitter) save() error {
	if f.cfg.State.Path == "" {
		return nil
	}
	f.tick()
	random := f.random.State()
	if f.Step == 0 && f.Start != nil {
		random = f.Start // the order will be drawn again
	}
	header, err := json.Marshal(stateJSON{stateVersion, f.describe(), f.progress, f.optimizer.steps, f.ema.average != nil, random})
	if err != nil {
		return err
	}
	var entries []checkpoint.Entry
	f.eachTensor(func(kind string, p *graph.Param, data []float32) {
		entries = append(entries, checkpoint.Entry{Name: kind + "/" + p.Name, Shape: p.Shape, Data: data})
	})
	slices.SortFunc(entries, func(a, b checkpoint.Entry) int { return strings.Compare(a.Name, b.Name) })
	sum := newChecksum(header)
	for _, e := range entries {
		sum.add(e.Data)
	}
	if err := os.MkdirAll(filepath.Dir(f.cfg.State.Path), 0o777); err != nil {
		return err
	}
	err = checkpoint.WriteSafetensors(f.cfg.State.Path, entries, map[string]string{stateKey: string(header), crcKey: sum.String()})
	f.saved = time.Now()
	return err
}

// eachTensor visits all that changes while training.
func (f *fitter) eachTensor(visit func(kind string, p *graph.Param, data []float32)) {
	for _, p := range f.variables {
		visit("weights", p, p.Data)
		visit("last", p, f.last[p])
		if f.best != nil {
			visit("best", p, f.best[p])
		}
		if f.ema.average != nil {
			visit("average", p, f.ema.average[p])
		}
	}
	for _, p := range f.params {
		s := f.optimizer.slot(p)
		visit("first", p, s.first)
		if s.second != nil {
			visit("second", p, s.second)
		}
	}
}

// Check finds what is wrong with a Config, and a state file that is of another training, before there
// are samples to train on.
func (c Config) Check() error {
	c, err := c.complete()
	if err != nil || !c.State.Resume {
		return err
	}
	return c.State.read(func(_ *checkpoint.File, s stateJSON) error {
		is := c.describe()
		maps.DeleteFunc(s.Description, func(name, _ string) bool { _, known := is[name]; return !known })
		return same(s.Description, is)
	})
}

// History returns the epochs that are complete by a state file.
func History(path string) (history []Epoch, err error) {
	err = StateConfig{Path: path}.read(func(_ *checkpoint.File, s stateJSON) error {
		history = s.Progress.History
		return nil
	})
	return history, err
}

// load goes on from the state file. On an error nothing has changed.
func (f *fitter) load() error {
	return f.cfg.State.read(func(file *checkpoint.File, s stateJSON) error {
		if err := same(s.Description, f.describe()); err != nil {
			return err
		}
		values, err := readTensors(file)
		if err == nil {
			err = s.Progress.check(f.steps)
		}
		if err != nil {
			return err
		}
		return f.apply(s, values)
	})
}

// read opens the state file.
func (c StateConfig) read(use func(*checkpoint.File, stateJSON) error) error {
	file, err := checkpoint.Open(c.Path)
	if err != nil {
		return fmt.Errorf("reading the state of training: %w", err)
	}
	defer file.Close()
	s, err := readHeader(file)
	if err == nil {
		err = use(file, s)
	}
	if err != nil {
		return fmt.Errorf("state of training %s: %w", c.Path, err)
	}
	return nil
}

func readHeader(file *checkpoint.File) (s stateJSON, err error) {
	header := file.Metadata[stateKey]
	if header == "" {
		return s, errors.New("the file holds no state of a training")
	}
	if err := json.Unmarshal([]byte(header), &s); err != nil {
		return s, fmt.Errorf("%w: delete the file and train from the start", err)
	}
	if s.Version != stateVersion {
		return s, fmt.Errorf("it has version %d, and this program reads %d: delete the file and train from the start", s.Version, stateVersion)
	}
	return s, nil
}

// same returns an error where a training isn't the one that the state is of.
func same(was, is map[string]string) error {
	if d := differences(was, is); d != nil {
		return fmt.Errorf("%w: %s", ErrOtherTraining, strings.Join(d, "; "))
	}
	return nil
}

// differences lists what isn't the same, by name.
func differences(was, is map[string]string) (list []string) {
	both := maps.Clone(is)
	maps.Copy(both, was)
	for _, name := range slices.Sorted(maps.Keys(both)) {
		old, before := was[name]
		now, after := is[name]
		switch {
		case old == now && before == after:
		case !before:
			list = append(list, fmt.Sprintf("%s was not given and is %q", name, now))
		case !after:
			list = append(list, fmt.Sprintf("%s was %q and is not given", name, old))
		default:
			list = append(list, fmt.Sprintf("%s was %q and is %q", name, old, now))
		}
	}
	return list
}

func readTensors(file *checkpoint.File) (map[string][]float32, error) {
	values := map[string][]float32{}
	sum := newChecksum([]byte(file.Metadata[stateKey]))
	for _, t := range file.Tensors() {
		data, err := t.Float32s()
		if err != nil {
			return nil, err
		}
		sum.add(data)
		values[t.Name] = data
	}
	if sum.String() != file.Metadata[crcKey] {
		return nil, errors.New("its checksum is wrong, so it is damaged: delete it and train from the start")
	}
	return values, nil
}

// check finds a state that can't be gone on from.
func (p progress) check(steps int) error {
	ok := p.Epoch == len(p.History)+1 && p.Step >= 0 && p.Step <= steps && p.Best >= 0 && p.Best <= len(p.History) &&
		(p.Best == 0) == (len(p.History) == 0)
	for i, e := range p.History {
		ok = ok && e.Epoch == i+1
	}
	if !ok {
		return fmt.Errorf("it is at step %d of epoch %d after %d epochs, the best %d, which can't be", p.Step, p.Epoch, len(p.History), p.Best)
	}
	return nil
}

// apply takes over a state.
func (f *fitter) apply(s stateJSON, values map[string][]float32) error {
	if s.Progress.Best > 0 {
		f.best = copyOf(f.variables)
	}
	if s.Averaged {
		f.ema.average = copyOf(f.variables)
	}
	var missing []string
	f.eachTensor(func(kind string, p *graph.Param, data []float32) {
		if len(values[kind+"/"+p.Name]) != len(data) {
			missing = append(missing, fmt.Sprintf("%s/%s of shape %v", kind, p.Name, p.Shape))
		}
	})
	if missing != nil {
		return fmt.Errorf("%w: the file lacks %s", ErrOtherTraining, strings.Join(missing, ", "))
	}
	if err := f.random.SetState(s.Random); err != nil {
		return err
	}
	f.eachTensor(func(kind string, p *graph.Param, data []float32) { copy(data, values[kind+"/"+p.Name]) })
	f.progress, f.optimizer.steps = s.Progress, s.Steps
	return nil
}

// A checksum is a CRC-32C over a header and values as they lie in a file.
type checksum struct {
	crc uint32
	buf []byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func newChecksum(header []byte) *checksum {
	return &checksum{crc: crc32.Checksum(header, castagnoli)}
}

func (c *checksum) add(values []float32) {
	for piece := range slices.Chunk(values, 1<<13) {
		c.buf = c.buf[:0]
		for _, v := range piece {
			c.buf = binary.LittleEndian.AppendUint32(c.buf, math.Float32bits(v))
		}
		c.crc = crc32.Update(c.crc, castagnoli, c.buf)
	}
}

func (c *checksum) String() string { return fmt.Sprintf("%08x", c.crc) }
