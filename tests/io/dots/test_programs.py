"""Files as each program writes them: what it means by a place, a class and a plane."""

from __future__ import annotations

import json
import struct
import zipfile

import numpy as np
import pytest
import roifile

from celltally.errors import UserError
from celltally.io import read_dots, recognised, write_dots
from celltally.types import Dots

CELL_COUNTER = """<?xml version="1.0" encoding="UTF-8"?>\r
<CellCounter_Marker_File>\r
 <Image_Properties>\r
     <Image_Filename>field 1.tif</Image_Filename>\r
     <X_Calibration>0.5</X_Calibration>\r
 </Image_Properties>\r
 <Marker_Data>\r
     <Current_Type>0</Current_Type>\r
     <Marker_Type>\r
         <Type>1</Type>\r
         <Name>neutrophil</Name>\r
         <Marker>\r
             <MarkerX>12</MarkerX>\r
             <MarkerY>34</MarkerY>\r
             <MarkerZ>1</MarkerZ>\r
         </Marker>\r
     </Marker_Type>\r
     <Marker_Type>\r
         <Type>2</Type>\r
         <Marker><MarkerX>5</MarkerX><MarkerY>6</MarkerY><MarkerZ>3</MarkerZ></Marker>\r
     </Marker_Type>\r
     <Marker_Type>\r
         <Type>3</Type>\r
     </Marker_Type>\r
 </Marker_Data>\r
</CellCounter_Marker_File>\r
"""

CELLFINDER = """<?xml version="1.0" encoding="UTF-8"?>
<CellCounter_Marker_File>
  <Image_Properties>
    <Image_Filename>placeholder.tif</Image_Filename>
  </Image_Properties>
  <Marker_Data>
    <Current_Type>1</Current_Type>
    <Marker_Type>
      <Type>1</Type>
      <Marker><MarkerX>1</MarkerX><MarkerY>2</MarkerY><MarkerZ>3</MarkerZ></Marker>
    </Marker_Type>
    <Marker_Type>
      <Type>2</Type>
      <Marker><MarkerX>4</MarkerX><MarkerY>5</MarkerY><MarkerZ>6</MarkerZ></Marker>
    </Marker_Type>
  </Marker_Data>
</CellCounter_Marker_File>
"""

CELLFINDER_YAML = """brainglobe_utils_version: 0.9.0
CellCounter_Marker_File: true
num_candidates: 2
candidate_cells:
- x: 1
  y: 2
  z: 3
  type: 1
  metadata: {}
- {x: 4, y: 5, z: 6, type: 2, metadata: {score: 0.5}}
"""


def test_cell_counter(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(CELL_COUNTER, newline="")
    got = read_dots(path)
    assert got.yx.tolist() == [[34, 12], [6, 5]]
    assert got.z.tolist() == [0, 2]
    assert got.label.tolist() == ["neutrophil", "Type 2"]


def test_cell_counter_is_told_image_and_calibration(tmp_path):
    path = tmp_path / "a.xml"
    dots = Dots.new([[1.6, 2.4]], label='<"A" & B>')
    write_dots(path, dots, format="cell-counter", image="a & b.tif", pixel_size_um=(0.5, 0.25))
    text = path.read_text(encoding="utf-8")
    assert "<Image_Filename>a &amp; b.tif</Image_Filename>" in text
    assert "<X_Calibration>0.25</X_Calibration>" in text
    assert "<Y_Calibration>0.5</Y_Calibration>" in text
    assert "<Calibration_Unit>micron</Calibration_Unit>" in text
    assert "<Current_Type>0</Current_Type>" in text
    assert "<MarkerX>2</MarkerX>" in text
    assert "<MarkerZ>1</MarkerZ>" in text
    got = read_dots(path)
    assert (got.yx.tolist(), got.label.tolist()) == ([[2, 2]], ['<"A" & B>'])


def test_cell_counter_names_everything_it_reads(tmp_path):
    # The plugin fails at an element without text, and at a list without types.
    write_dots(tmp_path / "a.xml", Dots.new(), format="cell-counter")
    text = (tmp_path / "a.xml").read_text()
    assert "<Image_Filename>Untitled</Image_Filename>" in text
    assert text.count("<Marker_Type>") == 1
    assert "<Name>cell</Name>" in text


@pytest.mark.parametrize(("suffix", "text"), [(".xml", CELLFINDER), (".yml", CELLFINDER_YAML)])
def test_cellfinder(tmp_path, suffix, text):
    path = tmp_path / f"a{suffix}"
    path.write_text(text)
    got = read_dots(path)
    assert got.yx.tolist() == [[2, 1], [5, 4]]
    assert got.z.tolist() == [3, 6]
    assert got.label.tolist() == ["non-cell", "cell"]
    write_dots(tmp_path / "b", got, format=recognised(path).name)
    again = read_dots(tmp_path / "b")
    order = np.argsort(again.z)
    assert again.yx[order].tolist() == got.yx.tolist()
    assert again.label[order].tolist() == got.label.tolist()


def test_cellfinder_knows_two_types(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(CELLFINDER.replace("<Type>2<", "<Type>5<"))
    with pytest.raises(UserError, match=r"marker 1 of type 5: its type is 5.*cell-counter"):
        read_dots(path)
    assert read_dots(path, format="cell-counter").z.tolist() == [2, 5]


def test_the_same_file_is_another_plane_to_the_other_program(tmp_path):
    path = tmp_path / "a.xml"
    write_dots(path, Dots.new([[1, 2]], z=4), format="cellfinder")
    assert recognised(path).name == "cellfinder"
    assert read_dots(path).z.tolist() == [4]
    write_dots(path, Dots.new([[1, 2]], z=4), format="cell-counter")
    assert recognised(path).name == "cell-counter"
    assert read_dots(path).z.tolist() == [4]
    assert read_dots(path, format="cell-counter").z.tolist() == [4]


def feature(shape, coordinates, **properties):
    geometry = {"type": shape, "coordinates": coordinates, **properties.pop("geometry", {})}
    properties = {"objectType": "annotation", **properties}
    return {"type": "Feature", "id": properties.pop("id", None), "geometry": geometry,
            "properties": properties}  # fmt: skip


def collection(path, *features):
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(features)}))
    return path


def test_qupath_counts_from_the_corner_of_the_pixel(tmp_path):
    path = tmp_path / "a.geojson"
    write_dots(path, Dots.new([[0, 0], [3.25, 7]]), format="qupath")
    first, second = json.loads(path.read_text())["features"]
    assert first["geometry"] == {"type": "Point", "coordinates": [0.5, 0.5]}
    assert second["geometry"]["coordinates"] == [7.5, 3.75]


def test_qupath_features(tmp_path):
    path = tmp_path / "a.geojson"
    dots = Dots.new([[1, 2]], id="0123456789abcdef" * 2, t=3, z=4, label="Tumor: Positive",
                    score=0.25, state="confirmed", source="Ada")  # fmt: skip
    write_dots(path, dots, format="qupath")
    (found,) = json.loads(path.read_text())["features"]
    assert found["id"] == "01234567-89ab-cdef-0123-456789abcdef"
    assert found["geometry"]["plane"] == {"c": -1, "z": 4, "t": 3}
    properties = found["properties"]
    assert properties["objectType"] == "annotation"
    assert properties["classification"]["name"] == "Tumor: Positive"
    assert len(properties["classification"]["color"]) == 3
    assert properties["measurements"] == {"score": 0.25}
    assert properties["metadata"] == {"state": "confirmed", "source": "Ada"}


def test_files_of_qupath(tmp_path):
    path = collection(
        tmp_path / "a.geojson",
        feature("Point", [10.5, 20.5], id="f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
                classification={"name": "Tumor", "colorRGB": -3670016},
                measurements=[{"name": "score", "value": 0.5}]),
        feature("MultiPoint", [[1, 2], [3.5, 4.5]], classification={"names": ["Tumor", "Positive"]},
                geometry={"plane": {"c": -1, "z": 7, "t": 2}}),
        feature("Polygon", [[[0, 0], [5, 0], [5, 5], [0, 0]]], name="outline"),
        feature("Point", [1, 1], measurements={"Area": float("nan"), "score": float("nan")}),
    )  # fmt: skip
    assert "NaN" in path.read_text()
    got = read_dots(path)
    assert got.yx.tolist() == [[20, 10], [1.5, 0.5], [4, 3], [0.5, 0.5]]
    assert got.label.tolist() == ["Tumor", "Tumor: Positive", "Tumor: Positive", "cell"]
    assert (got.z.tolist(), got.t.tolist()) == ([0, 7, 7, 0], [0, 2, 2, 0])
    assert got.id[0] == "f81d4fae7dec11d0a76500a0c91e6bf6"
    assert len(set(got.id)) == 4
    assert got.score[0] == 0.5
    assert np.isnan(got.score[1:]).all()


def test_a_list_and_a_single_feature_are_taken_as_well(tmp_path):
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([feature("Point", [1.5, 2.5])]))
    assert recognised(path).name == "qupath"
    assert read_dots(path).yx.tolist() == [[2, 1]]
    path.write_text(json.dumps(feature("Point", [1.5, 2.5])))
    assert read_dots(path).yx.tolist() == [[2, 1]]


def test_outlines_alone_are_no_dots(tmp_path):
    path = collection(
        tmp_path / "a.geojson", feature("Polygon", [[[0, 0], [5, 0], [5, 5], [0, 0]]])
    )
    with pytest.raises(UserError, match="1 outline but no points; read it as regions"):
        read_dots(path)


def test_maps_of_places_on_earth_are_not_ours(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, '
        '"geometry": {"type": "Point", "coordinates": [8.5, 47.4]}}]}'
    )
    assert recognised(path) is None


def test_qupath_points(tmp_path):
    path = tmp_path / "a.tsv"
    # As QuPath writes it: a tab after the last cell, too, and the class in the middle.
    path.write_text(
        "x\ty\tz\tclass\tname\tcolor\t\n"
        '10.5\t20.5\t3\tTu"mor\tPoints 1\t-3670016\t\n'
        "1\t2\t0\t\t\t\t\n"
    )
    got = read_dots(path)
    assert got.yx.tolist() == [[20, 10], [1.5, 0.5]]
    assert got.z.tolist() == [3, 0]
    assert got.label.tolist() == ['Tu"mor', "cell"]
    write_dots(path, Dots.new([[1, 2]], label="a\tb"), format="qupath-points")
    assert path.read_text() == "x\ty\tclass\tcolor\t\n2.5\t1.5\ta b\t-13641985\t\n"
    assert struct.pack(">i", -13641985) == bytes([255, 47, 214, 255])


def test_imagej_selections(tmp_path):
    dots = Dots.new([[1.25, 2.5], [3, 4], [5, 6]], t=[0, 0, 1], z=[0, 2, 0],
                    label=["cell", "cell", "a/b: c"])  # fmt: skip
    write_dots(tmp_path / "a.zip", dots, format="imagej")
    rois = roifile.roiread(tmp_path / "a.zip")
    assert [roi.name for roi in rois] == [
        "cell t0001 z0001",
        "cell t0001 z0003",
        "a_b_ c t0002 z0001",
    ]
    assert [(roi.t_position, roi.z_position) for roi in rois] == [(1, 1), (1, 3), (2, 1)]
    assert {roi.roitype.name for roi in rois} == {"POINT"}
    assert rois[0].coordinates().tolist() == [[2.5, 1.25]]
    got = read_dots(tmp_path / "a.zip")
    assert got.yx.tolist() == dots.yx.tolist()
    assert got.label.tolist() == dots.label.tolist()
    assert (got.t.tolist(), got.z.tolist()) == ([0, 0, 1], [0, 2, 0])


def test_a_picture_without_planes_has_selections_for_all_of_them(tmp_path):
    write_dots(tmp_path / "a.zip", Dots.new([[1, 2]]), format="imagej")
    (roi,) = roifile.roiread(tmp_path / "a.zip")
    assert (roi.name, roi.t_position, roi.z_position, roi.position) == ("cell", 0, 0, 0)


def test_classes_with_the_same_letters_stay_apart(tmp_path):
    dots = Dots.new([[1, 1], [2, 2], [3, 3]], label=["a/b", "a:b", "𝒳"])
    write_dots(tmp_path / "a.zip", dots, format="imagej")
    assert zipfile.ZipFile(tmp_path / "a.zip").namelist() == ["a_b.roi", "a_b (2).roi", "_.roi"]
    assert read_dots(tmp_path / "a.zip").label.tolist() == ["a/b", "a:b", "𝒳"]


def test_a_selection_has_counters_for_classes(tmp_path):
    dots = Dots.new([[1, 1], [2, 2], [3, 3]], label=["dead", "cell", "dead"])
    write_dots(tmp_path / "a.roi", dots, format="imagej-roi")
    roi = roifile.roiread(tmp_path / "a.roi")
    assert roi.counters.tolist() == [1, 0, 1]
    assert read_dots(tmp_path / "a.roi").label.tolist() == ["dead", "cell", "dead"]


def test_selections_of_others(tmp_path):
    path = tmp_path / "a.roi"
    roi = roifile.ImagejRoi.frompoints(np.array([[3, 4], [5, 6]]), name="0001-0004-0003")
    roi.roitype = roifile.ROI_TYPE.POINT
    roi.position = 3
    path.write_bytes(roi.tobytes())
    got = read_dots(path)
    assert got.yx.tolist() == [[4, 3], [6, 5]]
    assert (got.label.tolist(), got.z.tolist()) == (["cell"] * 2, [2, 2])
    roi.name, roi.position = "dead cells", 0
    roi.counters = np.array([0, 7], np.uint8)
    roi.counter_positions = np.array([2, 0], np.uint32)
    path.write_bytes(roi.tobytes())
    got = read_dots(path)
    assert (got.label.tolist(), got.z.tolist()) == (["counter 0", "counter 7"], [1, 0])


def test_outlines_among_selections_are_passed_over(tmp_path):
    box = roifile.ImagejRoi.frompoints([[0, 0], [5, 0], [5, 5]], name="box")
    point = roifile.ImagejRoi.frompoints([[1.0, 2.0]], name="cell")
    point.roitype = roifile.ROI_TYPE.POINT
    roifile.roiwrite(tmp_path / "a.zip", [box, point], mode="w")
    assert read_dots(tmp_path / "a.zip").yx.tolist() == [[2, 1]]
    roifile.roiwrite(tmp_path / "b.zip", [box], mode="w")
    with pytest.raises(UserError, match="1 outline but no points"):
        read_dots(tmp_path / "b.zip")


def test_the_same_dots_give_the_same_file(tmp_path):
    dots = Dots.new([[1, 2]], id="a")
    for name in ("a.zip", "b.zip"):
        write_dots(tmp_path / name, dots, format="imagej")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
