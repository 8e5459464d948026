package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/graft-ml/graft"
	"github.com/graft-ml/graft/internal/atomicfile"
)

type predictCmd struct {
	source `embed:""`
	Args   []string `arg:"" name:"run photos" help:"The run folder, then photos and folders of photos; with --model photos alone."`
	Top    int      `help:"Classes to show for each photo." default:"1"`
	JSON   bool     `help:"Print an object a line, with all logits." name:"json"`
	Plot   string   `help:"Draw the first photos (25 at most) with their predictions as a PNG." type:"path" placeholder:"FILE"`
}

// plotted is how many photos --plot shows at most.
const plotted = 25

func (c *predictCmd) Run(e *env) error {
	if c.Top < 1 {
		return fmt.Errorf("--top %d: there must be at least one class", c.Top)
	}
	model, photos, err := c.open(e, c.Args)
	if err != nil {
		return err
	}
	predictions, err := model.PredictFiles(e, graft.Files(photos...))
	if err != nil {
		return err
	}
	failed, count := false, 0
	var shown []graft.Prediction
	for p := range predictions {
		count++
		if p.Err != nil {
			failed = true
		} else if c.Plot != "" && len(shown) < plotted {
			shown = append(shown, p)
		}
		if err := c.print(p); err != nil {
			return err
		}
	}
	if err := e.interrupted(); err != nil {
		return err
	}
	if count == 0 {
		return errors.New("no photos: the folders hold no images")
	}
	if len(shown) > 0 {
		if err := atomicfile.Write(c.Plot, func(w io.Writer) error { return graft.Plot(w, shown) }); err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "Plot:", c.Plot)
	}
	if failed {
		return errReported
	}
	return nil
}

func (c *predictCmd) print(p graft.Prediction) error {
	if c.JSON {
		var line any = struct {
			File   string        `json:"file"`
			Top    []graft.Class `json:"top"`
			Logits []float32     `json:"logits"`
		}{p.File, p.Classes[:min(c.Top, len(p.Classes))], p.Logits}
		if p.Err != nil {
			line = struct {
				File  string `json:"file"`
				Error string `json:"error"`
			}{p.File, p.Err.Error()}
		}
		out := json.NewEncoder(os.Stdout)
		out.SetEscapeHTML(false)
		return out.Encode(line)
	}
	if p.Err != nil {
		fmt.Fprintln(os.Stderr, "graft:", p.Err)
		return nil
	}
	line := p.File
	for _, class := range p.Classes[:min(c.Top, len(p.Classes))] {
		line += fmt.Sprintf("\t%s %.3f", class.Name, class.Probability)
	}
	_, err := fmt.Println(line)
	return err
}

type embedCmd struct {
	source `embed:""`
	Args   []string `arg:"" name:"run photos" help:"The run folder, then photos and folders of photos; with --model photos alone."`
	Out    string   `help:"File to write: float32, photos × features. A list of the photos is written beside it as .txt." default:"features.npy" type:"path"`
}

func (c *embedCmd) Run(e *env) error {
	model, photos, err := c.open(e, c.Args)
	if err != nil {
		return err
	}
	rows, failed, err := model.Embed(e, graft.Files(photos...), c.Out, func(p graft.Prediction) {
		fmt.Fprintln(os.Stderr, "graft:", p.Err)
	})
	if err != nil {
		return err
	}
	fmt.Printf("%s: features of %d photos, named in %s\n", c.Out, rows, filepath.Base(graft.EmbedList(c.Out)))
	if failed > 0 {
		return errReported
	}
	return nil
}
