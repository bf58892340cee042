"""Images of a project are known by their content."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading

import numpy as np
import pytest

from celltally.errors import UserError
from celltally.progress import drain
from celltally.project import images
from celltally.project.images import (
    all_images,
    file_sha256,
    find,
    find_again,
    image,
    pixel_sha256,
    register,
    set_columns,
    set_pixel_sha256,
)
from celltally.types import Progress


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"the pixels of a")
    return path


def add(store, path, **more):
    return register(store, name=path.name, path=path, **more)


def write_zarr(folder, chunk=b"chunk"):
    (folder / "0" / "c").mkdir(parents=True)
    (folder / "zarr.json").write_text("{}")
    (folder / "0" / "zarr.json").write_text("{}")
    (folder / "0" / "c" / "0").write_bytes(chunk)
    return folder


def test_what_is_known_of_an_image_comes_back(store, file):
    number = add(store, file, scene="s1", shape=(20, 30), pixel_size_um=(0.5, 0.25))
    entry = image(store, number)
    assert all_images(store) == [entry]
    assert (entry.name, entry.path, entry.scene) == ("a.tif", file, "s1")
    assert (entry.shape, entry.pixel_size_um) == ((20, 30), (0.5, 0.25))
    assert (entry.file_sha256, entry.pixel_sha256) == (file_sha256(file), "")
    assert entry.added.endswith("+00:00")
    with pytest.raises(UserError, match=r"study\.celltally has no image 7; list those that it has"):
        image(store, 7)


def test_an_image_is_registered_once_and_read_once(store, file, monkeypatch):
    number = add(store, file)
    monkeypatch.setattr(images, "file_sha256", None)  # not asked for
    assert add(store, file) == number
    assert find(store, path=file) == number
    assert register(store, name="other name", path=file, shape=(5, 6)) == number
    assert image(store, number).shape == (5, 6)
    assert image(store, number).name == "a.tif"


def test_a_file_that_was_moved_or_renamed_is_the_same(store, file, tmp_path):
    number = add(store, file)
    (tmp_path / "sub").mkdir()
    moved = file.rename(tmp_path / "sub" / "b.tif")
    assert find(store, path=moved) == number
    assert image(store, number).path == file  # looking changes nothing
    assert add(store, moved) == number
    assert (image(store, number).path, image(store, number).name) == (moved, "b.tif")
    assert len(all_images(store)) == 1


def test_a_file_that_was_touched_is_the_same(store, file):
    number = add(store, file)
    os.utime(file, (1, 1))
    assert add(store, file) == number


def test_other_ways_to_a_file_are_the_same(store, file, tmp_path, monkeypatch):
    number = add(store, file)
    (tmp_path / "x").mkdir()
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    assert add(store, tmp_path / "x" / ".." / file.name) == number
    assert image(store, number).path == file
    assert add(store, tmp_path / "link" / file.name) == number
    monkeypatch.chdir(tmp_path)
    assert register(store, name="a", path=images.Path(file.name)) == number
    assert len(all_images(store)) == 1


def test_a_file_with_other_content_is_another_image(store, file, tmp_path):
    first = add(store, file)
    content = file.read_bytes()
    file.write_bytes(b"other pixels, of b")
    assert find(store, path=file) is None
    second = add(store, file)
    assert second != first
    assert find(store, path=file) == second
    # The former's pixels turn up elsewhere: its place is another's, so it was moved.
    elsewhere = tmp_path / "elsewhere.tif"
    elsewhere.write_bytes(content)
    assert add(store, elsewhere) == first
    file.write_bytes(content)  # and a copy of it is put in the old place
    assert add(store, file) not in (first, second)


def test_former_content_in_the_same_place_is_the_former_image(store, file):
    first = add(store, file)
    content = file.read_bytes()
    file.write_bytes(b"something else")
    second = add(store, file)
    file.write_bytes(content)
    assert add(store, file) == first
    assert {first, second} == {entry.id for entry in all_images(store)}


def test_a_copy_is_an_image_of_its_own(store, file, tmp_path):
    first = add(store, file)
    copy = shutil.copy(file, tmp_path / "copy.tif")
    second = add(store, copy)
    assert second != first
    os.utime(file, (1, 1))  # touched, but still there
    assert add(store, shutil.copy(file, tmp_path / "third.tif")) not in (first, second)


def test_scenes_of_a_file_are_images(store, file, tmp_path):
    numbers = [add(store, file, scene=scene) for scene in (None, "1", "2")]
    assert len(set(numbers)) == 3
    moved = file.rename(tmp_path / "b.tif")
    assert [add(store, moved, scene=scene) for scene in (None, "1", "2")] == numbers


def test_pixels_without_a_file(store, file):
    pixels = np.arange(12, dtype=np.uint16).reshape(3, 4)
    sha = pixel_sha256(pixels)
    number = register(store, name="New layer", pixels_sha256=sha)
    assert register(store, name="Another name", pixels_sha256=sha) == number
    assert find(store, pixels_sha256=sha) == number
    assert image(store, number).path is None
    assert register(store, name="x", pixels_sha256=pixel_sha256(pixels + 1)) != number
    # Saved as a file, it is still the same.
    assert add(store, file, pixels_sha256=sha) == number
    assert image(store, number).path == file
    # Two layers of which nothing is known are two.
    assert register(store, name="x") != register(store, name="x")


def test_a_layer_takes_nothing_from_an_image_whose_file_is_gone(store, file):
    sha = "0" * 64
    number = add(store, file, pixels_sha256=sha)
    before = image(store, number)
    file.unlink()
    assert register(store, name="layer", pixels_sha256=sha) == number
    assert image(store, number) == before


def test_the_hash_of_pixels_is_that_of_what_is_seen(store, file):
    pixels = np.arange(12, dtype=np.uint16).reshape(3, 4)
    assert pixel_sha256(pixels) == pixel_sha256(pixels.astype(">u2"))
    assert pixel_sha256(pixels) == pixel_sha256(np.asfortranarray(pixels))
    others = (pixels.reshape(4, 3), pixels.astype(np.int16), pixels.T.copy(), pixels + 1)
    assert pixel_sha256(pixels) not in map(pixel_sha256, others)
    number = add(store, file)
    set_pixel_sha256(store, number, "ab")
    assert image(store, number).pixel_sha256 == "ab"


def test_a_file_that_was_written_anew_with_the_same_pixels_is_the_same(store, file):
    number = add(store, file, pixels_sha256="ab")
    file.write_bytes(b"the same pixels in other words")
    assert add(store, file, pixels_sha256="ab") == number
    assert image(store, number).file_sha256 == file_sha256(file)


def test_a_folder_that_is_an_image(store, tmp_path):
    folder = write_zarr(tmp_path / "a.ome.zarr")
    number = add(store, folder)
    assert add(store, folder) == number
    assert len(file_sha256(folder)) == 64
    moved = folder.rename(tmp_path / "b.ome.zarr")
    assert add(store, moved) == number
    (moved / "0" / "c" / "0").write_bytes(b"other")  # the folder itself is as it was
    assert add(store, moved) != number
    same_bytes = write_zarr(tmp_path / "c.ome.zarr")
    (same_bytes / "0" / "c" / "0").rename(same_bytes / "0" / "c" / "1")
    assert file_sha256(same_bytes) != image(store, number).file_sha256


def test_a_file_that_cannot_be_read(store, tmp_path):
    with pytest.raises(UserError, match=r"gone\.tif cannot be read \(no such file or directory\)"):
        add(store, tmp_path / "gone.tif")
    assert all_images(store) == []


def test_two_threads_register_an_image_once(store, file, monkeypatch):
    both, numbers = threading.Barrier(2), []
    real = images.file_sha256

    def slow(path):
        both.wait(10)
        return real(path)

    monkeypatch.setattr(images, "file_sha256", slow)
    threads = [threading.Thread(target=lambda: numbers.append(add(store, file))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(numbers) == 2
    assert len(set(numbers)) == len(all_images(store)) == 1


def test_what_the_experiment_says(store, file):
    first, second = add(store, file), register(store, name="x", pixels_sha256="ab")
    set_columns(
        store, {first: {"plate": "P1", "well": "A01", "dose µM": "3"}, second: {"well": "B"}}
    )
    set_columns(store, {first: {"well": "", "site": "2", "donor": "7"}})
    entry = image(store, first)
    assert (entry.plate, entry.well, entry.site, entry.condition) == ("P1", "", "2", "")
    assert entry.further == {"dose µM": "3", "donor": "7"}
    assert image(store, second).well == "B"


# ---- looking for files ----


def search(store, *folders):
    return drain(find_again(store, folders))


def test_nothing_is_looked_for_where_all_is_there(store, file, tmp_path):
    add(store, file)
    assert search(store, tmp_path / "missing") == ([], [])


def test_moved_files_are_found_again(store, file, tmp_path):
    gone = tmp_path / "gone.tif"
    gone.write_bytes(b"nobody knows")
    numbers = [add(store, file), add(store, gone), add(store, file, scene="2")]
    folder = tmp_path / "new place" / "deeper"
    folder.mkdir(parents=True)
    (folder / "0 same size.tif").write_bytes(file.read_bytes()[::-1])
    moved = file.rename(folder / "renamed.tif")
    gone.unlink()
    found, missing = search(store, tmp_path / "new place")
    assert sorted(entry.id for entry in found) == [numbers[0], numbers[2]]
    assert [entry.id for entry in missing] == [numbers[1]]
    assert {entry.path for entry in found} == {moved}
    assert image(store, numbers[0]).path == moved
    assert image(store, numbers[0]).name == "renamed.tif"
    assert add(store, moved) == numbers[0]  # and is known without being read
    assert len(all_images(store)) == 3


def test_copies_are_found_each_for_itself(store, file, tmp_path):
    copy = tmp_path / "copy.tif"
    shutil.copy(file, copy)
    numbers = [add(store, file), add(store, copy)]
    kept = tmp_path / "kept.tif"
    shutil.copy(file, kept)
    numbers.append(add(store, kept))
    folder = tmp_path / "new"
    folder.mkdir()
    places = {file.rename(folder / "1.tif"), copy.rename(folder / "2.tif")}
    found, missing = search(store, tmp_path)
    assert missing == []
    assert {entry.id for entry in found} == set(numbers[:2])
    assert {entry.path for entry in found} == places
    assert image(store, numbers[2]).path == kept


def test_folders_that_are_images_are_found_again(store, tmp_path):
    number = add(store, write_zarr(tmp_path / "a.ome.zarr"))
    (tmp_path / "new").mkdir()
    moved = (tmp_path / "a.ome.zarr").rename(tmp_path / "new" / "b.ome.zarr")
    found, missing = search(store, tmp_path / "new")
    assert missing == []
    assert (found[0].id, found[0].path) == (number, moved)
    assert add(store, moved) == number


def test_an_image_whose_place_is_another_s_is_looked_for(store, file, tmp_path):
    first = add(store, file)
    (tmp_path / "new").mkdir()
    moved = file.rename(tmp_path / "new" / "a.tif")
    file.write_bytes(b"another image")
    second = add(store, file)
    found, missing = search(store, tmp_path)
    assert missing == []
    assert [(entry.id, entry.path) for entry in found] == [(first, moved)]
    assert image(store, second).path == file


def test_a_file_that_cannot_be_read_ends_no_search(store, file, tmp_path, monkeypatch):
    number = add(store, file)
    moved = file.rename(tmp_path / "b.tif")
    (tmp_path / "0.tif").write_bytes(bytes(moved.stat().st_size))
    real = images.file_sha256

    def denied(path):
        if path.name == "0.tif":
            raise UserError("denied")
        return real(path)

    monkeypatch.setattr(images, "file_sha256", denied)
    found, _ = search(store, tmp_path)
    assert [entry.id for entry in found] == [number]


def test_a_search_that_is_cancelled_changes_nothing(store, file, tmp_path):
    number = add(store, file)
    file.rename(tmp_path / "b.tif")
    steps = find_again(store, [tmp_path])
    assert next(steps) == Progress(0, 1, "looking through the folders")
    assert next(steps).done == 1
    steps.close()
    assert image(store, number).path == file


def test_very_large_files_are_known_by_parts_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_BLOCK", 16)
    content = bytes(range(256)) * 8
    (tmp_path / "large.tif").write_bytes(content)
    whole = file_sha256(tmp_path / "large.tif")
    assert whole == hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(images, "MOST_BYTES", 256)
    sampled = file_sha256(tmp_path / "large.tif")
    assert sampled != whole
    for changed in (content + b"x", b"x" + content[1:], content[:-1] + b"x"):
        (tmp_path / "other.tif").write_bytes(changed)
        assert file_sha256(tmp_path / "other.tif") != sampled
    (tmp_path / "copy.tif").write_bytes(content)
    assert file_sha256(tmp_path / "copy.tif") == sampled
