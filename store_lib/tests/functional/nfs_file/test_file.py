"""The file store's own tests, for what a share does in its own way: names, holes, files that are deleted while open."""

import pytest

from store_lib import errors
from store_lib.tests import support
from store_lib.tests.functional.file.test_commit import (  # noqa: F401
    test_a_name_that_is_taken_meanwhile,
    test_a_repeated_link_whose_first_answer_was_lost,
    test_a_taken_name_costs_no_transfer,
    test_free_space_is_asked_first,
    test_hidden_files_are_seen_by_nobody,
    test_nothing_is_seen_before_the_commit,
    test_what_is_stored,
)
from store_lib.tests.functional.file.test_copy import (  # noqa: F401
    test_a_move_is_a_rename,
    test_a_move_that_was_cut_short_is_completed,
    two,
)
from store_lib.tests.functional.file.test_reading import (  # noqa: F401
    DATA,
    location,
    test_a_file_that_is_cut_off_meanwhile,
    test_capacity,
    test_list,
    test_stat,
    test_verify_and_hash,
    test_what_is_no_image,
)
from store_lib.tests.functional.file.test_sparse import (  # noqa: F401
    sparse_file,
    test_from_store_to_store_holes_stay_holes,
    test_thin_provisioning_leaves_zeroes_out,
    test_without_thin_provisioning_zeroes_are_written,
)


def test_delete_while_a_reader_has_it_open(store, location, tmp_path):  # noqa: F811
    """Deletes an image that is being read: as on a disk, but the kernel keeps it by a hidden name until the end."""
    with store.open(location) as reader:
        assert reader.read(10) == DATA[:10]
        store.delete(location)
        assert not list(store.list())
        with pytest.raises(errors.NotFound):
            store.open(location)
        assert reader.read() == DATA[10:]
    support.until(lambda: support.names(tmp_path / "images") == [], 60)
